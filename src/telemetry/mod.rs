//! What is seen from outside: metrics, the decision log and the program's own log. Every name that a
//! dashboard or a query may rely on stands here. No other room is named.

mod decisions;
mod logs;
mod metrics;

#[cfg(test)]
mod tests;

pub use decisions::{DecisionLog, DecisionRecord, ImageRecord, ResultRecord};
pub use logs::{LogFormat, start_logging};
pub use metrics::{METRICS_CONTENT_TYPE, MetricDescription, Metrics, ReviewSample, TrustSample};
