use super::*;

fn outcome(collected: usize, delivered: usize) -> Outcome {
    Outcome { collected, delivered, repeats: 0, faults: Vec::new(), missing: Vec::new() }
}

fn concluded(outcome: &Outcome) -> (String, Result<(), DemoError>) {
    let mut out = Vec::new();
    let result = conclude(&mut Display::new(&mut out, false, Instant::now()), outcome);
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
    let (_, result) = concluded(&Outcome { faults: vec!["x".into()], ..outcome(1, 1) });
    assert!(matches!(result, Err(DemoError::Wrong)));
}
