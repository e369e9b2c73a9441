//! Pictures of instances and workflows: what is to be drawn is read here, `core` draws it.

use pg_workflow_core::graph::{Format, Graph};
use pg_workflow_core::timeline::{self, Timeline};

use crate::engine::authority::{self, Access};
use crate::engine::check;
use crate::error::Error;
use crate::pg::value::timestamp_text;
use crate::pg::{Oid, clock, scope};
use crate::store::timeline::{self as rows, Subject};

/// Events of an instance that are read: so many of its beginning and of its end.
const KEEP: i64 = 500;
/// Instances of a picture that lie within others.
const INSTANCES: usize = 50;

/// Which run is drawn, and how deep its children.
pub(crate) struct Request<'a> {
    pub(crate) id: &'a str,
    pub(crate) run: Option<i32>,
    pub(crate) depth: i32,
}

/// Lines of text of at most `width` columns.
pub(crate) fn text(request: &Request, width: i32) -> Result<String, Error> {
    let width = usize::try_from(width)
        .ok()
        .filter(|width| (40..=1000).contains(width))
        .ok_or_else(|| out_of_range("width", "from 40 to 1000"))?;
    let timeline = load(request)?;
    Ok(timeline::text(&timeline, width, clock(), &seconds).join("\n"))
}

pub(crate) fn svg(request: &Request) -> Result<String, Error> {
    Ok(timeline::svg(&load(request)?, clock(), &seconds))
}

/// The graph of an instance, or of a workflow: by its histories, or by its source if nobody has run it whom the caller may see.
pub(crate) fn graph(request: &Request, format: &str) -> Result<String, Error> {
    let format = Format::from_name(format).ok_or_else(|| Error::WrongArgument {
        name: "format",
        expected: "\"mermaid\" or \"dot\"".to_owned(),
    })?;
    let graph = match load(request) {
        Ok(timeline) => Graph::of_instance(&timeline),
        Err(error @ Error::WrongArgument { .. }) => return Err(error),
        // Nobody's instance stands in the way of a workflow of that name.
        Err(error) => workflow(request.id)?.ok_or(match error {
            Error::UnknownInstance(id) => Error::NothingToDraw(id),
            error => error,
        })?,
    };
    Ok(graph.draw(format))
}

fn workflow(name: &str) -> Result<Option<Graph>, Error> {
    let role = scope::current_user();
    let (steps, instances) = scope::as_engine(|| rows::steps(name, role, authority::sees_all(role)));
    if !steps.is_empty() {
        return Ok(Some(Graph::of_histories(name, instances, &steps)));
    }
    match check::source(name) {
        Ok(source) => {
            let calls = source.map(|source| pg_workflow_core::lint::calls(&source));
            Ok(Some(Graph::of_source(name, &calls.unwrap_or_default())))
        }
        Err(Error::NoSuchFunction(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn out_of_range(name: &'static str, range: &str) -> Error {
    Error::WrongArgument {
        name,
        expected: format!("a number {range}"),
    }
}

fn load(request: &Request) -> Result<Timeline, Error> {
    let caller = scope::current_user();
    let (id, depth) = (request.id, request.depth);
    if !(0..=50).contains(&depth) {
        return Err(out_of_range("depth", "from 0 to 50"));
    }
    scope::as_engine(|| {
        let unknown = |run: Option<i32>| match run.filter(|_| rows::subject(id, None).is_some()) {
            Some(run) => Error::UnknownRun { id: id.to_owned(), run },
            None => Error::UnknownInstance(id.to_owned()),
        };
        let subject = rows::subject(id, request.run).ok_or_else(|| unknown(request.run))?;
        authority::check(id, subject.owner, caller, Access::See)?;
        let mut timeline = draw(id, subject).ok_or_else(|| unknown(None))?;
        nest(&mut timeline, subject.owner, depth, &mut INSTANCES.clone());
        Ok(timeline)
    })
}

fn draw(id: &str, subject: Subject) -> Option<Timeline> {
    let (events, total) = rows::events(subject.run_id, KEEP);
    let omitted = usize::try_from(total - events.len() as i64).unwrap_or(0);
    Timeline::new(id, subject.seq, events, omitted, total - KEEP + 1, &seconds)
}

/// Children below their calls, as far as there is room. Who may see the parent may see them: they have its owner.
fn nest(timeline: &mut Timeline, owner: Oid, depth: i32, room: &mut usize) {
    if depth == 0 {
        return;
    }
    for node in timeline.children() {
        let Some(child) = node.child.clone().filter(|_| *room > 0) else {
            continue;
        };
        let subject = rows::subject(&child, None).filter(|subject| subject.owner == owner);
        if let Some((subject, mut inner)) = subject.and_then(|subject| Some((subject, draw(&child, subject)?))) {
            *room -= 1;
            nest(&mut inner, subject.owner, depth - 1, room);
            node.nest(inner);
        }
    }
}

/// A time in the session's time zone, to the second.
fn seconds(at: i64) -> String {
    let text = timestamp_text(at);
    match text.split_once('.') {
        Some((whole, fraction)) => format!("{whole}{}", fraction.trim_start_matches(|c: char| c.is_ascii_digit())),
        None => text,
    }
}
