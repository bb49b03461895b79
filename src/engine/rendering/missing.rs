//! Which variables a rendering misses: for previews; sends only count them.

use super::renderer::Renderer;
use super::{MAX_REQUEST_BYTES, Scope, Template};

/// The variables that have neither a value nor a default, by name, each once, in the order of URL, headers and body.
/// Those of conditions and of what `| omit` may leave out are not missed.
pub fn missing(template: &Template, scope: &Scope<'_>) -> Vec<String> {
    let mut renderer = Renderer::naming(*scope, MAX_REQUEST_BYTES);
    let texts = std::iter::once(&template.url).chain(template.headers.iter().map(|(_, parts)| parts)).chain(&template.body);
    texts.for_each(|parts| renderer.name_all(parts));
    renderer.into_names()
}
