//! Functions that show what was counted; see `sql/functions/62_metrics.sql`.

use crate::engine::metrics::{self, Format, Line};
use crate::engine::trace;
use crate::error::Error;
use crate::pg::fmgr::{Args, Return, sql_function};
use crate::pg::txn;
use crate::pg::value::Argument;

sql_function!("wf_metrics", text);
fn text(args: Args) -> Result<Return, Error> {
    let format: String = args.need(0, "format")?;
    Ok(Return::text(metrics::text(Format::from_name(&format)?)))
}

fn rows(args: Args, lines: &[Line]) -> Return {
    struct Row<'a> {
        line: &'a Line,
        counts: [i64; 4],
        quantiles: [Option<f64>; 6],
    }
    let rows: Vec<Row> = lines
        .iter()
        .map(|line| {
            let counts = &line.counts;
            let all = [counts.started, counts.completed, counts.failed, counts.cancelled];
            Row {
                line,
                counts: all.map(|count| i64::try_from(count).unwrap_or(i64::MAX)),
                quantiles: line.quantiles(),
            }
        })
        .collect();
    args.rows(rows.iter().map(|row| {
        let [started, completed, failed, cancelled] = &row.counts;
        let [queue_p50, queue_p95, queue_p99, run_p50, run_p95, run_p99] = &row.quantiles;
        [
            &row.line.workflow as &dyn Argument,
            &row.line.owner,
            &row.line.period,
            &row.line.at,
            started,
            completed,
            failed,
            cancelled,
            queue_p50,
            queue_p95,
            queue_p99,
            run_p50,
            run_p95,
            run_p99,
        ]
    }))
}

sql_function!("wf_stats", stats);
fn stats(args: Args) -> Result<Return, Error> {
    Ok(rows(args, &metrics::stats()))
}

sql_function!("wf_stats_history", history);
fn history(args: Args) -> Result<Return, Error> {
    Ok(rows(args, &metrics::history()))
}

sql_function!("wf_stats_failures", failures);
fn failures(args: Args) -> Result<Return, Error> {
    let lines = metrics::failures();
    Ok(args.rows(lines.iter().map(|line| {
        [
            &line.workflow as &dyn Argument,
            &line.owner,
            &line.kind,
            &line.sqlstate,
            &line.count,
        ]
    })))
}

sql_function!("wf_otlp", otlp);
fn otlp(args: Args) -> Result<Return, Error> {
    let id: String = args.need(0, "id")?;
    let spans = txn::with_spi(|| trace::otlp(&id))?;
    Ok(Return::json(spans.as_ref()))
}
