//! How lines are cut into batches, and that their progress fits together.

use super::super::progress::Runs;
use super::*;
use std::io::Write as _;

fn batches(text: &str) -> Batches {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let source = Source::open(file.path()).unwrap();
    let run = Runs::default().next(source.fingerprint()).unwrap();
    Batches::new(source, run)
}

fn line(n: usize) -> String {
    format!(
        "{{\"stream\":\"s-{}\",\"type\":\"T\",\"data\":{n}}}\n",
        n % 7
    )
}

#[test]
fn a_file_is_cut_into_batches_whose_progress_fits_together() {
    let mut text: String = (0..4_500).map(line).collect();
    text.push_str("\n\n");
    text.push_str(line(9).trim_end());
    let mut all = Lines::none();
    all.add(text.as_bytes());
    all.add(b"\n");
    let mut batches = batches(&text);
    let (mut written, mut last) = (0, None);
    while let Some(batch) = batches.next().unwrap() {
        let progress = batch.progress(&batch.all(), written, 0);
        assert_eq!(
            batch.lines_at(0),
            last.map_or(0, |last: Progress| last.lines)
        );
        written = progress.events;
        assert_eq!(progress.done, written == 4_501);
        last = Some(progress);
    }
    let last = last.unwrap();
    assert_eq!((last.lines, last.sha256), (4_503, all.sha256()));
}

#[test]
fn the_parts_of_a_batch_make_the_progress_of_the_whole() {
    let text: String = (0..10).map(line).collect();
    let batch = batches(&text).next().unwrap().unwrap();
    let (first, second) = (
        batch.progress(&(0..4), 0, 0),
        batch.progress(&(4..10), 4, 0),
    );
    assert_eq!((first.lines, first.events, first.done), (4, 4, false));
    assert_eq!(second, batch.progress(&batch.all(), 0, 0));
    assert!(second.done);
}

#[test]
fn what_stands_before_a_bad_line_comes_before_the_error() {
    for (good, batch_count) in [(3, 1), (2_000, 1), (2_001, 2), (0, 0)] {
        let text: String = (0..good)
            .map(line)
            .chain(["{}\n".to_owned(), line(1)])
            .collect();
        let mut batches = batches(&text);
        let mut events = 0;
        for _ in 0..batch_count {
            let batch = batches.next().unwrap().unwrap();
            assert!(!batch.is_last);
            events += batch.events.len();
        }
        let error = batches.next().err().unwrap().to_string();
        assert_eq!(error, format!("line {}: `stream` is missing", good + 1));
        assert_eq!(events, good);
        assert!(batches.next().unwrap().is_none());
    }
}

#[test]
fn an_id_that_a_stream_has_twice_is_kept() {
    let id = "\"id\":\"00000000-0000-0000-0000-000000000001\"";
    let text = format!("{{\"stream\":\"a\",\"type\":\"T\",{id}}}\n").repeat(2);
    let mut batches = batches(&text);
    let batch = batches.next().unwrap().unwrap();
    let progress = batch.progress(&batch.all(), 0, 0);
    let append = batch.append(&batch.all(), &batches.run, &progress).unwrap();
    assert_eq!(append.events().len(), 3);
    assert_eq!(append.events()[0].event.id, append.events()[1].event.id);
}

#[test]
fn a_line_without_a_time_has_that_of_the_line_before_it() {
    let text = "{\"stream\":\"a\",\"type\":\"T\"}\n\
                {\"stream\":\"a\",\"type\":\"T\",\"time\":\"2012-01-31T00:00:00Z\"}\n\
                {\"stream\":\"a\",\"type\":\"T\"}\n";
    let batch = batches(text).next().unwrap().unwrap();
    let times: Vec<_> = batch.events.iter().map(|event| event.line.time).collect();
    assert_eq!(times[0], None);
    assert!(times[1].is_some() && times[1] == times[2]);
    assert_eq!(batch.progress(&batch.all(), 0, 0).time(), times[1]);
}

#[test]
fn large_events_make_small_batches() {
    let large = format!(
        "{{\"stream\":\"a\",\"type\":\"T\",\"data\":\"{}\"}}\n",
        "x".repeat(900_000)
    );
    let mut batches = batches(&large.repeat(5));
    let mut sizes = Vec::new();
    while let Some(batch) = batches.next().unwrap() {
        sizes.push(batch.events.len());
    }
    assert_eq!(sizes, [2, 2, 1]);
}
