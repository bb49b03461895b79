//! A rendered request for people's eyes: as cURL to copy, as a table to read. Secrets are shown as `***`.

use std::fmt::Write;

use percent_encoding::percent_decode_str;

use crate::engine::definition::ContentType;
use crate::engine::record::{Frozen, Piece, Quoting, Request};

const HIDDEN: &str = "***";

/// A command that can be pasted into a POSIX shell. The attempt's own headers are not part of a request; `content-type` is.
pub fn curl(request: &Request) -> String {
    let mut command = format!("curl --request {} \\\n  --url {}", request.method.as_str(), quoted(&text(&request.url)));
    // cURL would take brackets and braces in a URL for patterns.
    if text(&request.url).contains(['[', ']', '{', '}']) {
        command.push_str(" --globoff");
    }
    let mut header = |name: &str, value: &str| {
        // `Name;` is how cURL is told to send a header without a value.
        let line = if value.is_empty() { format!("{name};") } else { format!("{name}: {value}") };
        let _ = write!(command, " \\\n  --header {}", quoted(&line));
    };
    header("content-type", request.content_type.media_type());
    request.headers.iter().for_each(|(name, value)| header(name, &text(value)));
    if let Some(body) = &request.body {
        let _ = write!(command, " \\\n  --data-raw {}", quoted(&text(body)));
    }
    command
}

/// Aligned columns: what, name, value.
pub fn table(request: &Request) -> String {
    aligned(&rows(request))
}

/// Rows as aligned columns.
pub fn aligned(rows: &[[String; 3]]) -> String {
    let names = rows.iter().map(|[_, name, _]| name.chars().count()).max().unwrap_or(0);
    let mut table = String::new();
    for [what, name, value] in rows {
        let line = format!("{what:<11}  {name:<names$}  {}", value.replace('\n', "\\n").replace('\r', "\\r"));
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

/// What, name, value. Query parameters decoded, the top level of a JSON body row by row.
pub fn rows(request: &Request) -> Vec<[String; 3]> {
    let row = |what: &str, name: String, value: String| [what.to_owned(), name, value];
    let url = text(&request.url);
    let (path, query) = url.split_once('?').map_or((url.as_str(), None), |(path, query)| (path, Some(query)));
    let mut rows = vec![
        row("destination", String::new(), request.destination.to_string()),
        row("method", String::new(), request.method.as_str().to_owned()),
        row("url", String::new(), path.to_owned()),
    ];
    for pair in query.into_iter().flat_map(|query| query.split('&')) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        rows.push(row("param", decoded(name), decoded(value)));
    }
    rows.push(row("header", "content-type".to_owned(), request.content_type.media_type().to_owned()));
    rows.extend(request.headers.iter().map(|(name, value)| row("header", name.to_string(), text(value))));
    if let Some(body) = &request.body {
        body_rows(&text(body), request.content_type, &mut rows);
    }
    rows
}

fn body_rows(body: &str, content_type: ContentType, rows: &mut Vec<[String; 3]>) {
    let json = match content_type {
        ContentType::Json => serde_json::from_str::<crate::engine::value::Value>(body).ok(),
        ContentType::Text => None,
    };
    match json.as_ref().and_then(|json| json.as_object()) {
        Some(object) => rows.extend(object.iter().map(|(name, value)| ["body".to_owned(), name.to_owned(), value.to_string()])),
        None => rows.push(["body".to_owned(), String::new(), body.to_owned()]),
    }
}

/// The text with its secrets hidden, valid JSON where it was.
pub fn text(frozen: &Frozen) -> String {
    let mut text = String::new();
    for piece in &frozen.0 {
        match piece {
            Piece::Text(part) => text.push_str(part),
            Piece::Secret(_, Quoting::Json) => {
                let _ = write!(text, "\"{HIDDEN}\"");
            }
            Piece::Secret(..) => text.push_str(HIDDEN),
        }
    }
    text
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// In single quotes, within which a shell changes nothing.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::definition::Method;

    fn text(text: &str) -> Frozen {
        Frozen(vec![Piece::Text(text.into())])
    }

    fn request() -> Request {
        Request {
            destination: "kakao".into(),
            method: Method::Post,
            url: Frozen(vec![Piece::Text("https://a.example/v1?q=it's%20a&k=".into()), Piece::Secret("key".into(), Quoting::Url)]),
            headers: vec![
                ("X-Empty".into(), Frozen::default()),
                ("X-Key".into(), Frozen(vec![Piece::Text("Key ".into()), Piece::Secret("token".into(), Quoting::Plain)])),
            ],
            content_type: ContentType::Json,
            body: Some(Frozen(vec![
                Piece::Text("{\"text\":\"it's `$HOME` \\\"x\\\"\\n\",\"key\":".into()),
                Piece::Secret("token".into(), Quoting::Json),
                Piece::Text("}".into()),
            ])),
        }
    }

    #[test]
    fn curl_is_safe_to_paste() {
        let expect = r#"curl --request POST \
  --url 'https://a.example/v1?q=it'\''s%20a&k=***' \
  --header 'content-type: application/json' \
  --header 'X-Empty;' \
  --header 'X-Key: Key ***' \
  --data-raw '{"text":"it'\''s `$HOME` \"x\"\n","key":"***"}'"#;
        assert_eq!(curl(&request()), expect);
    }

    #[test]
    fn a_request_without_body_has_no_data() {
        let get = Request { method: Method::Get, url: text("https://a.example/[x]"), headers: vec![], body: None, ..request() };
        let expect = "curl --request GET \\\n  --url 'https://a.example/[x]' --globoff \\\n  --header 'content-type: application/json'";
        assert_eq!(curl(&get), expect);
    }

    #[test]
    fn the_table_shows_every_part() {
        let expect = concat!(
            "destination                kakao\n",
            "method                     POST\n",
            "url                        https://a.example/v1\n",
            "param        q             it's a\n",
            "param        k             ***\n",
            "header       content-type  application/json\n",
            "header       X-Empty\n",
            "header       X-Key         Key ***\n",
            "body         text          \"it's `$HOME` \\\"x\\\"\\n\"\n",
            "body         key           \"***\"\n",
        );
        assert_eq!(table(&request()), expect);
        let plain = Request { content_type: ContentType::Text, body: Some(text("a\nb")), ..request() };
        assert!(table(&plain).ends_with("body                       a\\nb\n"));
    }
}
