//! Pictures; see `sql/functions/83_pictures.sql`.

use crate::engine::pictures::{self, Request};
use crate::error::Error;
use crate::pg::fmgr::{Args, Return, sql_function};
use crate::pg::txn;

sql_function!("wf_timeline_text", timeline_text);
fn timeline_text(args: Args) -> Result<Return, Error> {
    let (id, width): (String, i32) = (args.need(0, "id")?, args.need(1, "width")?);
    let request = Request {
        id: &id,
        depth: args.need(2, "depth")?,
        run: args.get(3),
    };
    txn::with_spi(|| pictures::text(&request, width)).map(Return::text)
}

sql_function!("wf_timeline_svg", timeline_svg);
fn timeline_svg(args: Args) -> Result<Return, Error> {
    let id: String = args.need(0, "id")?;
    let request = Request {
        id: &id,
        depth: args.need(1, "depth")?,
        run: args.get(2),
    };
    txn::with_spi(|| pictures::svg(&request)).map(Return::text)
}

sql_function!("wf_graph", graph);
fn graph(args: Args) -> Result<Return, Error> {
    let (id, format): (String, String) = (args.need(0, "id_or_workflow")?, args.need(1, "format")?);
    let request = Request {
        id: &id,
        depth: args.need(2, "depth")?,
        run: args.get(3),
    };
    txn::with_spi(|| pictures::graph(&request, &format)).map(Return::text)
}
