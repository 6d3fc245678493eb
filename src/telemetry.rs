//! Placeholder.
use crate::config::{Environment, LogSettings};

/// # Errors
/// Placeholder.
pub fn init(settings: &LogSettings, _environment: &Environment) -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(&settings.level).init();
    Ok(())
}
