use super::*;

fn outcome(collected: usize, delivered: usize) -> Outcome {
    Outcome { collected, delivered, repeats: 0, faults: Vec::new(), missing: Vec::new() }
}

fn concluded(outcome: &Outcome) -> (String, Result<(), DemoError>) {
    let mut out = Vec::new();
    let result = conclude(&mut Display::new(&mut out, false, Instant::now(), Language::English), outcome);
    (String::from_utf8(out).expect("the text is UTF-8"), result)
}

#[test]
fn anything_lost_or_wrong_is_a_failure() {
    let (text, result) = concluded(&outcome(1200, 1200));
    assert_eq!(text, "\n1200 collected, 1200 delivered, 0 lost\n");
    assert!(result.is_ok());
    let (text, result) = concluded(&outcome(1200, 1199));
    assert!(text.ends_with("1200 collected, 1199 delivered, 1 lost\n"));
    assert!(matches!(result, Err(DemoError::Lost { lost: 1 })));
    let (_, result) = concluded(&Outcome { faults: vec!["x".into_value()], ..outcome(1, 1) });
    assert!(matches!(result, Err(DemoError::Wrong)));
}

#[tokio::test]
async fn a_short_demo_delivers_everything_over_an_outage() {
    let script = Script {
        readings: 60,
        pace: Duration::from_millis(20),
        stop_after: Duration::from_millis(400),
        down_for: Duration::from_millis(600),
    };
    let mut out = Vec::new();
    let result =
        demo(script, Display::new(&mut out, false, Instant::now(), Language::English), std::future::pending()).await;
    let text = String::from_utf8(out).expect("the text is UTF-8");
    assert!(result.is_ok(), "{result:?}\n{text}");
    assert!(text.contains("\n240 collected, 240 delivered, 0 lost"), "{text}");
    assert!(!folder(&text).exists(), "{text}");
}

#[tokio::test]
async fn an_interrupted_demo_leaves_nothing_behind() {
    let script = Script {
        readings: 300,
        pace: Duration::from_millis(20),
        stop_after: Duration::from_secs(60),
        down_for: Duration::ZERO,
    };
    let mut out = Vec::new();
    let interrupted = tokio::time::sleep(Duration::from_millis(700));
    let result = demo(script, Display::new(&mut out, false, Instant::now(), Language::English), interrupted).await;
    let text = String::from_utf8(out).expect("the text is UTF-8");
    assert!(matches!(result, Err(DemoError::Interrupted)), "{result:?}");
    assert!(!folder(&text).exists(), "{text}");
}

/// The folder that the demo said it uses.
fn folder(text: &str) -> &Path {
    let folder = text.lines().find(|line| line.contains("tidegate-demo-")).expect("it is named");
    Path::new(folder.trim_end_matches(','))
}
