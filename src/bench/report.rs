//! What a measurement ends with: one flat object of scalars, in the order in which they were found.

use serde_json::Value;

/// Named figures.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report(Vec<(&'static str, Value)>);

impl Report {
    /// Begins with what is measured.
    pub(super) fn of(what: &'static str) -> Self {
        Self(vec![("what", what.into())])
    }

    /// Sets a figure.
    pub(super) fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        let value = value.into();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }

    /// Sets a ratio, rounded to three digits after the point; none where it has no meaning.
    pub(super) fn ratio(&mut self, name: &'static str, over: f64, under: f64) {
        let ratio = over / under;
        if ratio.is_finite() {
            self.set(name, (ratio * 1_000.0).round() / 1_000.0);
        }
    }

    /// Why its figures mean nothing, if they do: something was refused or lost, or there twice, or nothing was acknowledged.
    pub(crate) fn failure(&self) -> Option<String> {
        let count =
            |name| self.0.iter().find(|(known, _)| *known == name).and_then(|(_, count)| count.as_u64());
        let (lost, duplicated) = (count("lost").unwrap_or(0), count("duplicated").unwrap_or(0));
        match (count("errors").unwrap_or(0), count("acked")) {
            _ if lost + duplicated > 0 => Some(format!(
                "of what was acknowledged {lost} are not there, and {duplicated} are there twice"
            )),
            (0, Some(1..)) => None,
            (0, _) => Some("nothing was acknowledged".into()),
            (errors, _) => Some(format!("{errors} messages were refused or lost")),
        }
    }

    /// As one line of JSON.
    pub(crate) fn json(&self) -> String {
        let member = |(name, value): &(&str, Value)| format!("\"{name}\":{value}");
        format!("{{{}}}", self.0.iter().map(member).collect::<Vec<_>>().join(","))
    }

    /// Each figure with its name.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_one_line_of_scalars() {
        let mut report = Report::of("mqtt");
        report.set("acked", 7u64);
        report.set("acked", 8u64);
        report.ratio("acked_per_s", 8.0, 3.0);
        report.ratio("cpu_s_per_million", 1.0, 0.0);

        let read: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(read["what"], "mqtt");
        assert_eq!(read["acked"], 8);
        assert_eq!(read["acked_per_s"], 2.667);
        assert!(read["cpu_s_per_million"].is_null());
        assert!(!report.json().contains('\n'));
    }

    #[test]
    fn what_was_acknowledged_and_is_not_there_once_is_a_failure_though_nothing_was_refused() {
        for (lost, duplicated, is_failure) in [(0, 0, false), (1, 0, true), (0, 1, true)] {
            let mut report = Report::of("cluster");
            report.set("acked", 7u64);
            report.set("errors", 0u64);
            report.set("lost", lost);
            report.set("duplicated", duplicated);
            assert_eq!(report.failure().is_some(), is_failure, "{lost} {duplicated}");
        }
    }

    #[test]
    fn a_report_of_losses_or_of_nothing_is_a_failure() {
        let failure = |acked: u64, errors: u64| {
            let mut report = Report::of("mqtt");
            report.set("acked", acked);
            report.set("errors", errors);
            report.failure()
        };
        assert_eq!(failure(7, 0), None);
        assert_eq!(failure(0, 0).as_deref(), Some("nothing was acknowledged"));
        assert_eq!(failure(7, 2).as_deref(), Some("2 messages were refused or lost"));
        assert!(Report::of("mqtt").failure().is_some());
    }
}
