//! Every field of the settings file does what its page says: one that is read and then passed to nobody
//! would be a promise that nothing keeps.

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    certs::Authority,
    hostile::{Act, Hostile, Reply},
    process,
};

const BODY: &str = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;

/// Fields that `check` cannot show, and what does.
const ELSEWHERE: [(&str, &str); 5] = [
    ("imagePullSecrets", "`check` reads no Secrets; cluster::pull_secrets::tests"),
    ("registries[].host", "without it an entry is none; every other row"),
    (
        "trustCacheDirectory",
        "it::trust::repositories::what_was_vouched_for_survives_a_restart_without_the_mirror",
    ),
    (
        "trustDirectory",
        "it::trust::material::files_act_within_a_second_and_also_where_their_directory_is_swapped",
    ),
    ("trustNamespaces", "it::trust::material::the_clusters_policies_read_no_namespace_that_is_not_listed"),
];

/// One field, two settings files that differ in it alone, and what becomes of the same objects under each.
struct Row {
    field: &'static str,
    settings: [Value; 2],
    outcomes: [&'static str; 2],
    policy: Value,
    objects: Vec<Value>,
    registry: Option<Arc<Hostile>>,
    observe: fn(&Seen) -> String,
}

/// What was seen of one run.
struct Seen {
    answer: Value,
    /// What the registry was asked: method and path.
    asked: Vec<String>,
    took: Duration,
}

impl Row {
    fn new(
        field: &'static str,
        settings: [Value; 2],
        outcomes: [&'static str; 2],
        images: &[String],
    ) -> Self {
        let objects = images.iter().map(|image| pod(image)).collect();
        let policy = json!({"registries": {"allow": ["**"]}});
        Self { field, settings, outcomes, policy, objects, registry: None, observe: verdicts }
    }

    /// Runs `check` with one of the two files.
    fn run(&self, settings: &Value) -> Seen {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &Value| {
            let path = folder.path().join(name);
            fs::write(&path, content.to_string()).unwrap();
            path
        };
        let policy = json!({
            "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ClusterImageAdmissionPolicy",
            "metadata": {"name": "p"}, "spec": self.policy,
        });
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": self.objects});
        let received = || self.registry.as_ref().map_or_else(Vec::new, |registry| registry.received());
        let before = received().len();
        let began = Instant::now();
        let mut command = process::tidewaiter();
        command.args(["check", "-o", "json", "--policies"]).arg(write("policy.json", &policy));
        command.arg("--config").arg(write("settings.json", settings));
        let output = command.arg("-f").arg(write("objects.json", &objects)).output().unwrap();
        let answer = serde_json::from_slice(&output.stdout);
        let answer = answer.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        let asked =
            received().iter().skip(before).map(|one| format!("{} {}", one.method, one.target)).collect();
        Seen { answer, asked, took: began.elapsed() }
    }
}

fn pod(image: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": image}]}})
}

/// What became of each object, in the order of the words.
fn verdicts(seen: &Seen) -> String {
    let of = |decision: &Value| {
        let results = decision["images"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|image| image["results"].as_array().unwrap());
        let reason =
            results.filter(|result| result["action"] == "Deny").find_map(|result| result["reason"].as_str());
        match (decision["allowed"].as_bool().unwrap(), reason) {
            (false, reason) => reason.unwrap().to_owned(),
            (true, _) if decision["warnings"] != json!([]) => "warned".to_owned(),
            (true, _) if decision["patch"] != json!([]) => "pinned".to_owned(),
            (true, _) => "admitted".to_owned(),
        }
    };
    let mut all: Vec<String> = seen.answer["decisions"].as_array().unwrap().iter().map(of).collect();
    all.sort();
    all.join(" ")
}

/// Whether each thing was asked of the registry once or more often.
fn asked(seen: &Seen) -> String {
    let different: BTreeSet<&String> = seen.asked.iter().collect();
    assert!(!different.is_empty(), "it was never asked");
    if seen.asked.len() == different.len() { "once" } else { "again" }.to_owned()
}

/// Whether our own rules kept the registry from being asked.
fn forbidden(seen: &Seen) -> String {
    if verdicts(seen) == "RequestForbidden" { "forbidden" } else { "asked" }.to_owned()
}

/// Whether it was over long before the longer of the two times.
fn waited(seen: &Seen) -> String {
    let short = seen.took < Duration::from_secs(9);
    format!("{} {}", verdicts(seen), if short { "soon" } else { "late" })
}

/// Of which platform no scan is known.
fn unscanned(seen: &Seen) -> String {
    let answer = seen.answer.to_string();
    assert_eq!(verdicts(seen), "ScanVerdictMissing", "{answer}");
    let platforms = ["linux/amd64", "linux/arm64"];
    platforms.into_iter().filter(|platform| answer.contains(platform)).collect::<Vec<_>>().join(" ")
}

/// The index of an image for two platforms.
fn index() -> Act {
    let part = |architecture: &str| {
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1,
            "digest": tidewaiter::image::Digest::sha256(architecture.as_bytes()),
            "platform": {"os": "linux", "architecture": architecture},
        })
    };
    let media_type = "application/vnd.oci.image.index.v1+json";
    let body =
        json!({"schemaVersion": 2, "mediaType": media_type, "manifests": [part("amd64"), part("arm64")]});
    let body = body.to_string();
    let digest = tidewaiter::image::Digest::sha256(body.as_bytes());
    let reply = Reply::status(200).header("content-type", media_type);
    Act::Answer(reply.header("docker-content-digest", digest.as_str()).body(body))
}

fn manifest() -> Act {
    let reply = Reply::status(200).header("content-type", "application/vnd.oci.image.manifest.v1+json");
    let digest = tidewaiter::image::Digest::sha256(BODY.as_bytes());
    Act::Answer(reply.header("docker-content-digest", digest.as_str()).body(BODY))
}

fn entry(host: &str, more: &Value) -> Value {
    let mut entry = json!({"host": host, "plainHttp": true, "allowPrivateAddresses": true});
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "registries": [entry] })
}

/// The settings with one more field at the top.
fn with(mut settings: Value, field: &str, value: Value) -> Value {
    settings[field] = value;
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn every_setting_acts_and_none_is_forgotten() {
    let none = json!({});
    let open = Arc::new(Hostile::start(|_| manifest()).await);
    let counted = Arc::new(Hostile::start(|_| manifest()).await);
    let indexed = Arc::new(Hostile::start(|_| index()).await);
    let unsigned = Arc::new(Hostile::start(|_| Act::Answer(Reply::status(404))).await);
    let silent = Arc::new(Hostile::start(|_| Act::Silence).await);
    let private = Hostile::start(|request| match request.header("authorization") {
        Some("Basic dTpw") => manifest(),
        _ => Act::Answer(Reply::status(401).header("www-authenticate", "Basic realm=\"r\"")),
    })
    .await;
    let tokens = Hostile::start(|_| Act::Answer(Reply::status(200).body(r#"{"token": "t"}"#))).await;
    let realm = format!("{}/token", tokens.named_origin());
    let elsewhere = Hostile::start(move |request| match request.header("authorization") {
        Some("Bearer t") => manifest(),
        _ => Act::Answer(
            Reply::status(401).header("www-authenticate", &format!("Bearer realm=\"{realm}\",service=\"s\"")),
        ),
    })
    .await;
    let authority = Authority::new("the authority of a registry");
    let guarded = Hostile::start_tls(&authority, |_| manifest()).await;
    // Connections are taken by the system, and nobody ever says a word on them.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead_host = format!("127.0.0.1:{}", process::free_port().unwrap());
    let mute_host = mute.local_addr().unwrap().to_string();

    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let auths = json!({"auths": {private.host(): {"username": "u", "password": "p"}}});
    let docker_config = write("config.json", &auths.to_string());
    let ca = write("ca.pem", authority.certificate());

    let image = |host: &str| vec![format!("{host}/a:1")];
    let ours = entry(&open.host(), &none);
    let mut workload = pod("docker.io/library/nginx:1");
    workload = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"template": {"spec": workload["spec"]}},
    });
    let refusing = json!({"registries": {"deny": ["**"]}});
    let about_others =
        json!({"registries": {"allow": ["**"]}, "match": {"images": ["elsewhere.example.com/**"]}});
    let slow = |timeouts: Value| with(entry(&silent.host(), &none), "timeouts", timeouts);
    let mute_settings = |seconds: u64| {
        let timeouts = json!({"connectSeconds": seconds, "totalSeconds": 60, "readSeconds": 30});
        with(entry(&mute_host, &json!({"plainHttp": false})), "timeouts", timeouts)
    };
    let two = |host: &str| vec![format!("{host}/a:1"), format!("{host}/b:1")];
    let patient = json!({"readSeconds": 6, "totalSeconds": 6});
    let quick = json!({"timeouts": {"totalSeconds": 1}});
    let mirrored = |mirrors: Value| {
        let mut settings = entry(&dead_host, &json!({"mirrors": mirrors}));
        settings["registries"].as_array_mut().unwrap().push(ours["registries"][0].clone());
        settings
    };

    let key = rcgen::KeyPair::generate().unwrap().public_key_pem();
    let rows = vec![
        Row::new(
            "digestPinning",
            [ours.clone(), with(ours.clone(), "digestPinning", json!("Off"))],
            ["pinned", "admitted"],
            &image(&open.host()),
        ),
        Row {
            policy: about_others.clone(),
            ..Row::new(
                "unmatchedImages",
                [none.clone(), json!({"unmatchedImages": "Deny"})],
                ["warned", "NoPolicyMatches"],
                &image("registry.example.com"),
            )
        },
        Row {
            policy: about_others,
            ..Row::new(
                "unmatchedImages",
                [json!({"unmatchedImages": "Warn"}), json!({"unmatchedImages": "Allow"})],
                ["warned", "admitted"],
                &image("registry.example.com"),
            )
        },
        Row {
            policy: refusing.clone(),
            objects: vec![workload.clone()],
            ..Row::new(
                "workloads",
                [none.clone(), json!({"workloads": "Warn"})],
                ["RegistryDenied", "warned"],
                &[],
            )
        },
        Row {
            policy: refusing,
            objects: vec![workload],
            ..Row::new(
                "workloads",
                [json!({"workloads": "Deny"}), json!({"workloads": "Off"})],
                ["RegistryDenied", "admitted"],
                &[],
            )
        },
        Row {
            registry: Some(counted.clone()),
            observe: asked,
            ..Row::new(
                "tagCacheSeconds",
                [
                    entry(&counted.host(), &none),
                    with(entry(&counted.host(), &none), "tagCacheSeconds", json!(0)),
                ],
                ["once", "again"],
                // More than are judged at a time, so that not all share one look-up.
                &vec![format!("{}/cached:1", counted.host()); 60],
            )
        },
        Row {
            registry: Some(unsigned.clone()),
            observe: asked,
            policy: json!({"signatures": {"authorities": [{"name": "release", "key": {"inline": key}}]}}),
            ..Row::new(
                "evidenceCacheSeconds",
                [
                    entry(&unsigned.host(), &none),
                    with(entry(&unsigned.host(), &none), "evidenceCacheSeconds", json!(0)),
                ],
                ["once", "again"],
                &vec![format!("{}/a@{}", unsigned.host(), tidewaiter::image::Digest::sha256(b"a")); 60],
            )
        },
        Row {
            observe: unscanned,
            policy: json!({"vulnerabilities": {"deny": [{"severity": "Critical"}]}}),
            ..Row::new(
                "platforms",
                [
                    with(entry(&indexed.host(), &none), "platforms", json!(["linux/amd64"])),
                    with(entry(&indexed.host(), &none), "platforms", json!(["linux/arm64"])),
                ],
                ["linux/amd64", "linux/arm64"],
                &image(&indexed.host()),
            )
        },
        Row::new(
            "dockerConfig",
            [
                entry(&private.host(), &none),
                with(entry(&private.host(), &none), "dockerConfig", json!(docker_config)),
            ],
            ["ImageUnavailable", "pinned"],
            &image(&private.host()),
        ),
        Row {
            observe: forbidden,
            ..Row::new(
                "clusterRanges",
                // An address for documentation (RFC 5737): nobody is there.
                [quick.clone(), with(quick, "clusterRanges", json!(["192.0.2.0/24"]))],
                ["asked", "forbidden"],
                &image("192.0.2.1"),
            )
        },
        Row {
            observe: waited,
            ..Row::new(
                "timeouts.readSeconds",
                [
                    slow(json!({"readSeconds": 10, "totalSeconds": 60})),
                    slow(json!({"readSeconds": 1, "totalSeconds": 60})),
                ],
                ["RegistryTimedOut late", "RegistryTimedOut soon"],
                &image(&silent.host()),
            )
        },
        Row {
            observe: waited,
            ..Row::new(
                "timeouts.totalSeconds",
                [
                    slow(json!({"readSeconds": 30, "totalSeconds": 10})),
                    slow(json!({"readSeconds": 30, "totalSeconds": 1})),
                ],
                ["RegistryTimedOut late", "RegistryTimedOut soon"],
                &image(&silent.host()),
            )
        },
        Row {
            observe: waited,
            ..Row::new(
                "timeouts.connectSeconds",
                [mute_settings(10), mute_settings(1)],
                ["RegistryTimedOut late", "RegistryTimedOut soon"],
                &image(&mute_host),
            )
        },
        Row::new(
            "registries[].plainHttp",
            [ours.clone(), entry(&open.host(), &json!({"plainHttp": false}))],
            ["pinned", "RegistryTimedOut"],
            &image(&open.host()),
        ),
        Row::new(
            "registries[].allowPrivateAddresses",
            [ours.clone(), entry(&open.host(), &json!({"allowPrivateAddresses": false}))],
            ["pinned", "RequestForbidden"],
            &image(&open.host()),
        ),
        Row::new(
            "registries[].ca",
            [
                entry(&guarded.host(), &json!({"plainHttp": false})),
                entry(&guarded.host(), &json!({"plainHttp": false, "ca": ca})),
            ],
            ["RegistryUnreachable", "pinned"],
            &image(&guarded.host()),
        ),
        Row::new(
            "registries[].mirrors",
            [mirrored(json!([])), mirrored(json!([open.host()]))],
            ["RegistryUnreachable", "pinned"],
            &image(&dead_host),
        ),
        Row::new(
            "registries[].maxConcurrentRequests",
            [
                with(entry(&silent.host(), &none), "timeouts", patient.clone()),
                with(entry(&silent.host(), &json!({"maxConcurrentRequests": 1})), "timeouts", patient),
            ],
            ["RegistryTimedOut RegistryTimedOut", "RegistryOverloaded RegistryTimedOut"],
            &two(&silent.host()),
        ),
        Row::new(
            "registries[].authHosts",
            [entry(&elsewhere.host(), &none), {
                let mut settings = entry(&elsewhere.host(), &json!({"authHosts": [tokens.named_host()]}));
                let theirs = entry(&tokens.named_host(), &none);
                settings["registries"].as_array_mut().unwrap().push(theirs["registries"][0].clone());
                settings
            }],
            ["RequestForbidden", "pinned"],
            &image(&elsewhere.host()),
        ),
    ];

    let mut fields: BTreeSet<String> = ELSEWHERE.iter().map(|(field, _)| (*field).to_owned()).collect();
    fields.extend(rows.iter().map(|row| row.field.to_owned()));
    let runs = rows.into_iter().map(|row| {
        tokio::task::spawn_blocking(move || {
            for (settings, wanted) in row.settings.iter().zip(row.outcomes) {
                let seen = row.run(settings);
                let answer: String = seen.answer.to_string().chars().take(1000).collect();
                assert_eq!((row.observe)(&seen), wanted, "{}: {settings}: {answer}", row.field);
            }
        })
    });
    for run in futures::future::join_all(runs).await {
        run.unwrap();
    }
    assert_eq!(fields, documented(), "the rows above (left), and docs/settings.md and docs/registries.md");
    assert_eq!(fields, known(), "the rows above (left), and what the settings file may hold");
}

/// The fields that the pages list.
fn documented() -> BTreeSet<String> {
    let rows = |page: &'static str, prefix: &'static str| {
        let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
        cells.map(move |(field, _)| format!("{prefix}{field}"))
    };
    let registries = include_str!("../../docs/registries.md");
    let (_, registries) = registries.split_once("## Per registry").unwrap();
    let mut fields: BTreeSet<String> =
        rows(include_str!("../../docs/settings.md"), "").chain(rows(registries, "registries[].")).collect();
    assert!(fields.remove("registries[]"));
    fields
}

/// The fields that the program knows: it lists them to whoever writes another.
fn known() -> BTreeSet<String> {
    let listed = |settings: Value, prefix: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.json");
        fs::write(&path, settings.to_string()).unwrap();
        let output = process::tidewaiter().args(["check", "nginx", "--config"]).arg(&path).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        let (_, expected) = error.split_once("expected ").unwrap_or_else(|| panic!("{error}"));
        expected.split('`').skip(1).step_by(2).map(|field| format!("{prefix}{field}")).collect::<Vec<_>>()
    };
    let mut fields: BTreeSet<String> = listed(json!({"unknown": 1}), "").into_iter().collect();
    fields.extend(listed(json!({"timeouts": {"unknown": 1}}), "timeouts."));
    fields.extend(listed(json!({"registries": [{"host": "a.example.com", "unknown": 1}]}), "registries[]."));
    assert!(fields.remove("timeouts") && fields.remove("registries"));
    fields
}
