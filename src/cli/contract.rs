//! The contracts of the kinds that are compiled into this binary, as people read them.

use std::io::Write;

use serde::Serialize;
use twins::kind::{Contract, Kind, Kinds};
use twins::routes::{Described, Plane};

use super::Error;
use super::table::Table;

/// All contracts, in the shape of the API's lists.
#[derive(Serialize)]
struct All<'a> {
    items: Vec<Contract<'a>>,
    next: Option<String>,
}

/// Shows the contract of a kind, or of all.
pub(super) fn show(
    kinds: &Kinds,
    kind: Option<String>,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let shown = match kind {
        None => {
            let items: Vec<_> = kinds.iter().map(Kind::contract).collect();
            let texts = || items.iter().map(text).collect::<Vec<_>>().join("\n");
            if json { object(&All { items, next: None }) } else { texts() }
        }
        Some(kind) => {
            let Some(found) = kinds.get(&kind) else { return Err(Error::UnknownKind { kind }) };
            if json { object(&found.contract()) } else { text(&found.contract()) }
        }
    };
    Ok(out.write_all(shown.as_bytes())?)
}

fn object(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("a contract has a form in JSON") + "\n"
}

fn text(contract: &Contract<'_>) -> String {
    let Contract { kind, version, items } = contract;
    if items.is_empty() {
        return format!("{kind}: declares nothing, accepts everything\n");
    }
    let mut table = Table::new(&["PLANE", "NAME", "UNIT", "ABOUT"]);
    for item in *items {
        let name = if item.keyed { format!("{}/{{key}}", item.name) } else { item.name.to_owned() };
        table.row(&[&plane(item.plane), &name, &item.unit.unwrap_or("-"), &about(item)]);
    }
    format!("{kind}: version {version}\n{table}")
}

fn plane(plane: Plane) -> &'static str {
    match plane {
        Plane::Telemetry => "telemetry",
        Plane::Desired => "desired",
        Plane::Reported => "reported",
        Plane::Command => "command",
        Plane::Event => "event",
        Plane::Method => "method",
        Plane::Query => "query",
        Plane::Timer => "timer",
    }
}

fn about(item: &Described) -> String {
    let latest = item.latest_only.then_some("the latest supersedes the others");
    item.about.into_iter().chain(latest).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use twins::prelude::*;

    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    struct Lamp {
        lit: bool,
    }

    const LIT: Desired<bool> = Desired::named("lit").about("whether it should give light");

    impl Behavior for Lamp {
        const KIND: &'static str = "lamp";

        fn routes(on: &mut Routes<Self>) {
            on.desired(&LIT, |lamp: &mut Self, lit: bool, _: &mut Effects| lamp.lit = lit);
        }
    }

    fn shown(kind: Option<&str>, json: bool) -> Result<String, Error> {
        let kinds = Kinds::default().with(Kind::of::<Lamp>());
        let mut out = Vec::new();
        show(&kinds, kind.map(str::to_owned), json, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_contract_is_a_table_of_what_a_kind_declares() {
        let table = "\
lamp: version 1
PLANE    NAME  UNIT  ABOUT
desired  lit   -     whether it should give light
";
        assert_eq!(shown(Some("lamp"), false).unwrap(), table);
        let all = shown(None, false).unwrap();
        assert_eq!(all, format!("device: declares nothing, accepts everything\n\n{table}"));
    }

    #[test]
    fn programs_get_the_contract_as_the_api_has_it() {
        let lamp = r#"{"kind":"lamp","version":1,"items":[{"plane":"desired","name":"lit","about":"whether it should give light"}]}"#;
        assert_eq!(shown(Some("lamp"), true).unwrap(), format!("{lamp}\n"));
        assert!(shown(None, true).unwrap().ends_with(&format!("{lamp}],\"next\":null}}\n")));
    }

    #[test]
    fn an_unknown_kind_is_refused_with_the_way_to_the_known_ones() {
        let refused = shown(Some("lam"), false).unwrap_err().to_string();
        assert!(refused.ends_with("twinfold twin contract"), "{refused}");
    }
}
