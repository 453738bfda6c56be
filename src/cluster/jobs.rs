use std::time::Duration;

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ContainerState, Pod},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, LogParams, PostParams, PropagationPolicy},
};
use tokio::time::{Instant, sleep};

use super::{
    failure::{ClusterError, Failure},
    watch::{Pace, in_time},
};
use crate::decision::printable;

/// The label of everything that runs for a scan; its value is the source's name.
pub const SCAN_SOURCE: &str = "tidewaiter.dev/scan-source";
/// The label by which the Pods of one Job are found; its value is the Job's name.
pub const SCAN_NAME: &str = "tidewaiter.dev/scan";
/// How often a Job is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long a Job may take beyond its own deadline, which the cluster's controller keeps.
const GRACE: Duration = Duration::from_secs(60);
/// How long reading a log may take.
const LOG_TIME: Duration = Duration::from_secs(60);
/// The end of a log that is told where a Job fails, in bytes.
const TAIL: i64 = 2048;
/// The longest text about a failure, in bytes.
const DETAIL: usize = 400;

/// Runs Jobs to their end, and reads what they print.
#[derive(Clone)]
pub struct JobRunner {
    client: Client,
    pace: Pace,
}

/// How a Job has ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum JobEnd {
    /// It has done its work, and printed this.
    Done(String),
    /// It has not: what became of its container, and the end of what it printed.
    Failed(String),
    /// It has not come to an end in time: what became of its container.
    TimedOut(String),
    /// It has printed more than is read.
    TooLong,
}

impl JobRunner {
    /// Runs by `client`. Asks nobody yet.
    pub fn new(client: Client) -> Self {
        Self { client, pace: Pace::default() }
    }

    /// Runs `job`, which must have a name, a namespace and a deadline, and whose Pods must bear the label
    /// [`SCAN_NAME`], to its end. Of what it prints at most `limit` bytes are read. Deletes it in any case but where
    /// the caller goes away.
    ///
    /// An error means that the API server could not be asked, or does not want the Job.
    pub async fn run(&self, job: &Job, limit: u32) -> Result<JobEnd, ClusterError> {
        let namespace = job.namespace().unwrap_or_default();
        let jobs = Api::<Job>::namespaced(self.client.clone(), &namespace);
        let params = PostParams::default();
        in_time(self.pace.answer, jobs.create(&params, job))
            .await
            .map_err(|failure| ClusterError::new("cannot create a scan Job", &failure))?;
        let ended = self.watch(&jobs, job, &namespace, limit).await;
        let deleted = delete(self.pace, &jobs, &job.name_any()).await;
        let ended = ended.map_err(|failure| ClusterError::new("cannot follow a scan Job", &failure))?;
        deleted.map_err(|failure| ClusterError::new("cannot delete a scan Job", &failure))?;
        Ok(ended)
    }

    async fn watch(
        &self,
        jobs: &Api<Job>,
        job: &Job,
        namespace: &str,
        limit: u32,
    ) -> Result<JobEnd, Failure> {
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let name = job.name_any();
        let own = job.spec.as_ref().and_then(|spec| spec.active_deadline_seconds).unwrap_or_default();
        let end = Instant::now() + Duration::from_secs(own.unsigned_abs()) + GRACE;
        let of_job = ListParams::default().labels(&format!("{SCAN_NAME}={name}")).limit(4);
        // The Pod goes when the deadline has passed, and what became of it could not be told any more.
        let mut last_seen = "no Pod came of it".to_owned();
        loop {
            let found = in_time(self.pace.answer, pods.list(&of_job)).await?.items.pop();
            if let Some(pod) = &found {
                last_seen = describe(pod);
            }
            let now = in_time(self.pace.answer, jobs.get_opt(&name)).await?;
            let Some(now) = now else {
                return Ok(JobEnd::Failed("somebody has deleted the Job".to_owned()));
            };
            match condition(&now) {
                Some(("Complete", _)) => {
                    let Some(pod) = found else {
                        return Ok(JobEnd::Failed("its Pod has gone before its log was read".to_owned()));
                    };
                    let log = self.log(&pods, &pod.name_any(), Some(i64::from(limit) + 1), None).await?;
                    return Ok(match log.len() > usize::try_from(limit).unwrap_or(usize::MAX) {
                        true => JobEnd::TooLong,
                        false => JobEnd::Done(log),
                    });
                }
                Some((_, "DeadlineExceeded")) => return Ok(JobEnd::TimedOut(last_seen)),
                Some(_) => {
                    let said = match found {
                        // What it printed helps, but its end is known without.
                        Some(pod) => {
                            self.log(&pods, &pod.name_any(), None, Some(8)).await.unwrap_or_default()
                        }
                        None => String::new(),
                    };
                    let text =
                        if said.is_empty() { last_seen } else { format!("{last_seen}: {}", said.trim()) };
                    return Ok(JobEnd::Failed(printable(&text, DETAIL)));
                }
                None if Instant::now() > end => return Ok(JobEnd::TimedOut(last_seen)),
                None => sleep(LOOK).await,
            }
        }
    }

    async fn log(
        &self,
        pods: &Api<Pod>,
        pod: &str,
        limit: Option<i64>,
        lines: Option<i64>,
    ) -> Result<String, Failure> {
        let params =
            LogParams { limit_bytes: limit.or(Some(TAIL)), tail_lines: lines, ..LogParams::default() };
        in_time(LOG_TIME, pods.logs(pod, &params)).await
    }

    /// Deletes the Jobs that a former process has left of `source` in `namespace`. Returns how many.
    pub async fn sweep(&self, namespace: &str, source: &str) -> Result<usize, ClusterError> {
        let failed = |failure| ClusterError::new("cannot clear away former scan Jobs", &failure);
        let jobs = Api::<Job>::namespaced(self.client.clone(), namespace);
        let left = ListParams::default().labels(&format!("{SCAN_SOURCE}={source}"));
        let left = in_time(self.pace.answer, jobs.list(&left)).await.map_err(failed)?.items;
        for job in &left {
            delete(self.pace, &jobs, &job.name_any()).await.map_err(failed)?;
        }
        Ok(left.len())
    }
}

async fn delete(pace: Pace, jobs: &Api<Job>, name: &str) -> Result<(), Failure> {
    let with_its_pods =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..DeleteParams::default() };
    match in_time(pace.answer, jobs.delete(name, &with_its_pods)).await {
        Err(failure) if failure.code() != Some(404) => Err(failure),
        _ => Ok(()),
    }
}

/// How a Job has ended, and why; none while it runs.
fn condition(job: &Job) -> Option<(&str, &str)> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let ended = conditions
        .iter()
        .find(|condition| condition.status == "True" && matches!(&*condition.type_, "Complete" | "Failed"))?;
    Some((&ended.type_, ended.reason.as_deref().unwrap_or_default()))
}

/// What became of a Pod's container.
fn describe(pod: &Pod) -> String {
    let status = pod.status.clone().unwrap_or_default();
    let container = status.container_statuses.unwrap_or_default().pop();
    let state = container.and_then(|container| container.state).unwrap_or_default();
    let text = match state {
        ContainerState { terminated: Some(ended), .. } => {
            let reason = ended.reason.unwrap_or_default();
            format!("the scanner ended with exit code {} ({reason})", ended.exit_code)
        }
        ContainerState { waiting: Some(waiting), .. } => {
            let reason = waiting.reason.unwrap_or_default();
            format!("the scanner waits: {reason}: {}", waiting.message.unwrap_or_default())
        }
        ContainerState { running: Some(_), .. } => "the scanner was still running".to_owned(),
        _ => {
            let conditions = status.conditions.unwrap_or_default();
            let unmet = conditions.into_iter().find(|condition| condition.status == "False");
            let why = unmet.and_then(|condition| condition.message).unwrap_or_default();
            format!("its Pod is {}: {why}", status.phase.unwrap_or_else(|| "Pending".to_owned()))
        }
    };
    printable(text.trim_end_matches([' ', ':']), DETAIL)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[rstest]
    #[case(json!({"phase": "Pending"}), "its Pod is Pending")]
    #[case(
        json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "no node"}]}),
        "its Pod is Pending: no node"
    )]
    #[case(
        json!({"containerStatuses": [{"name": "scan", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}]}),
        "the scanner waits: ImagePullBackOff: not found"
    )]
    #[case(
        json!({"containerStatuses": [{"name": "scan", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}),
        "the scanner ended with exit code 137 (OOMKilled)"
    )]
    fn what_became_of_a_pod_is_told(#[case] status: Value, #[case] told: &str) {
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap();
        assert_eq!(describe(&pod), told);
    }

    #[rstest]
    #[case(json!([]), None)]
    #[case(json!([{"type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded"}]), None)]
    #[case(json!([{"type": "Complete", "status": "True"}]), Some(("Complete", "")))]
    #[case(
        json!([{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]),
        Some(("Failed", "BackoffLimitExceeded"))
    )]
    #[case(json!([{"type": "Failed", "status": "False"}]), None)]
    fn a_job_has_ended_when_it_says_so(#[case] conditions: Value, #[case] ended: Option<(&str, &str)>) {
        let job: Job =
            serde_json::from_value(json!({"metadata": {}, "status": {"conditions": conditions}})).unwrap();
        assert_eq!(condition(&job), ended);
    }
}
