//! Lets a fleet live through a maintenance, an outage and a burst of 429, and prints what became of it.
//!
//! ```text
//! fleet [--gateways 100000] [--seed 1] [--svg FOLDER] [maintenance|outage|throttled …]
//! ```

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use tidegate_tests::fleet::{Kind, Scenario, draw, run, summary, table};

struct Arguments {
    gateways: u32,
    seed: u64,
    svg: Option<PathBuf>,
    scenarios: Vec<Scenario>,
}

fn arguments() -> Result<Arguments, String> {
    let mut found = Arguments { gateways: 100_000, seed: 1, svg: None, scenarios: Vec::new() };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        let mut value = || given.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--gateways" => found.gateways = value()?.parse().map_err(|_| "--gateways needs a number".to_owned())?,
            "--seed" => found.seed = value()?.parse().map_err(|_| "--seed needs a number".to_owned())?,
            "--svg" => found.svg = Some(value()?.into()),
            name => match Scenario::ALL.into_iter().find(|scenario| scenario.name() == name) {
                Some(scenario) => found.scenarios.push(scenario),
                None => return Err(format!("{name} is no scenario: maintenance, outage or throttled")),
            },
        }
    }
    if found.scenarios.is_empty() {
        found.scenarios = Scenario::ALL.to_vec();
    }
    Ok(found)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    println!("{} gateways, seed {}\n", arguments.gateways, arguments.seed);
    for scenario in arguments.scenarios {
        let begun = Instant::now();
        let of = |kind| run(scenario, kind, arguments.gateways, arguments.seed);
        let (ours, alone) = (of(Kind::Tidegate), of(Kind::BackoffAlone));
        println!("{}", table(scenario, &ours, &alone));
        println!("{}simulated in {:.1} s\n", summary(scenario, &ours, &alone), begun.elapsed().as_secs_f64());
        let Some(folder) = &arguments.svg else { continue };
        let path = folder.join(format!("{}.svg", scenario.name()));
        if let Err(error) = std::fs::write(&path, draw(scenario, &ours, &alone)) {
            eprintln!("cannot write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
