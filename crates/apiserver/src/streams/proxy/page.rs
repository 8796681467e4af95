//! Links of an HTML page that comes through a proxy: those to a path of the program's own have to
//! come through it too. The page is rewritten as it goes by; nothing but the values of links
//! changes.

use std::ops::Range;

/// A tag that is longer is no tag.
const MAX_TAG: usize = 8 << 10;

/// Which attributes of which tags are links (`atomsToAttrs`).
const LINKS: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["formaction", "src", "usemap"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// What stands in these is no markup, and how they end.
const RAW: &[(&str, &str)] = &[
    ("iframe", "</iframe"),
    ("noembed", "</noembed"),
    ("noframes", "</noframes"),
    ("script", "</script"),
    ("style", "</style"),
    ("textarea", "</textarea"),
    ("title", "</title"),
    ("xmp", "</xmp"),
];

/// Where the links of a program lead.
pub(super) struct Links {
    /// The way to the program: `/api/v1/namespaces/NS/pods/NAME/proxy`.
    pub(super) prefix: String,
    /// What the program may take for its own host.
    pub(super) hosts: Vec<String>,
}

/// A page that goes by.
pub(super) struct Page {
    links: Links,
    /// What cannot be told yet.
    rest: Vec<u8>,
    /// Nothing up to this text is markup.
    skip: Option<&'static str>,
}

/// What comes next in a page.
enum Next {
    /// So many bytes as they are, and then what is no markup.
    Plain(usize, Option<&'static str>),
    Tag(Tag),
    /// Not to be told without more.
    More,
}

struct Tag {
    length: usize,
    raw: Option<&'static str>,
    links: Vec<Range<usize>>,
}

// === impl Links ===

impl Links {
    /// Where a link must lead instead, unless it is right as it is: relative, or to elsewhere.
    pub(super) fn through(&self, link: &str) -> Option<String> {
        let (with_host, path) = match origin(link) {
            None => (false, link),
            Some((host, path)) if self.hosts.iter().any(|own| own == host) => (true, path),
            Some(_) => return None,
        };
        match path {
            path if !path.starts_with('/') => None,
            path if path.starts_with(&self.prefix) => with_host.then(|| path.to_owned()),
            path => Some(format!("{}{path}", self.prefix)),
        }
    }
}

/// The host of a link that names one, and what comes behind it.
fn origin(link: &str) -> Option<(&str, &str)> {
    let begins = |scheme: &str| {
        link.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme)).map(str::len)
    };
    let begin = begins("//").or_else(|| begins("http://")).or_else(|| begins("https://"))?;
    let rest = &link[begin..];
    Some(rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())))
}

// === impl Page ===

impl Page {
    pub(super) fn new(links: Links) -> Self {
        Self { links, rest: Vec::new(), skip: None }
    }

    /// Takes a part of the page; what of it can be told goes to `out`.
    pub(super) fn feed(&mut self, part: &[u8], out: &mut Vec<u8>) {
        self.rest.extend_from_slice(part);
        let text = std::mem::take(&mut self.rest);
        let mut at = 0;
        loop {
            let left = &text[at..];
            let next = match self.skip.take() {
                Some(end) => skip(left, end),
                None => next(left),
            };
            match next {
                Next::Plain(length, skip) => {
                    out.extend_from_slice(&left[..length]);
                    at += length;
                    self.skip = skip;
                    if skip.is_some() && length == 0 {
                        break;
                    }
                }
                Next::Tag(tag) => {
                    self.write(left, &tag, out);
                    at += tag.length;
                    self.skip = tag.raw;
                }
                Next::More => break,
            }
        }
        self.rest = text;
        self.rest.drain(..at);
    }

    /// The page is at its end.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.rest);
    }

    fn write(&self, text: &[u8], tag: &Tag, out: &mut Vec<u8>) {
        let mut at = 0;
        for link in &tag.links {
            let value = std::str::from_utf8(&text[link.clone()]).ok();
            if let Some(other) = value.and_then(|value| self.links.through(value)) {
                out.extend_from_slice(&text[at..link.start]);
                out.extend_from_slice(other.as_bytes());
                at = link.end;
            }
        }
        out.extend_from_slice(&text[at..tag.length]);
    }
}

/// On to the text that ends what is no markup. A tag is left for what comes next.
fn skip(text: &[u8], end: &'static str) -> Next {
    let found = text.windows(end.len()).position(|part| part.eq_ignore_ascii_case(end.as_bytes()));
    match found {
        Some(at) if end.starts_with('<') => Next::Plain(at, None),
        Some(at) => Next::Plain(at + end.len(), None),
        // Its beginning may be there.
        None => Next::Plain(text.len().saturating_sub(end.len() - 1), Some(end)),
    }
}

fn next(text: &[u8]) -> Next {
    match text {
        [] | [b'<'] | [b'<', b'!'] | [b'<', b'!', b'-'] => Next::More,
        [b'<', b'!', b'-', b'-', ..] => Next::Plain(2, Some("-->")),
        [b'<', b'!' | b'?' | b'/', ..] => Next::Plain(2, Some(">")),
        [b'<', letter, ..] if letter.is_ascii_alphabetic() => match tag(text) {
            Some(tag) => Next::Tag(tag),
            None if text.len() > MAX_TAG => Next::Plain(1, None),
            None => Next::More,
        },
        [b'<', ..] => Next::Plain(1, None),
        _ => Next::Plain(text.iter().position(|c| *c == b'<').unwrap_or(text.len()), None),
    }
}

/// The tag that the text begins with, when all of it is there.
fn tag(text: &[u8]) -> Option<Tag> {
    let space = |c: u8| matches!(c, b' ' | b'\n' | b'\r' | b'\t' | b'\x0c');
    let until = |from: usize, end: &dyn Fn(u8) -> bool| {
        text[from..].iter().position(|c| end(*c)).map(|length| from + length)
    };
    let mut at = until(1, &|c| space(c) || matches!(c, b'/' | b'>'))?;
    let name = text[1..at].to_ascii_lowercase();
    let of = |known: &str| known.as_bytes() == name;
    let attributes = LINKS.iter().find(|(known, _)| of(known)).map_or(&[][..], |(_, list)| list);
    let raw = RAW.iter().find(|(known, _)| of(known)).map(|(_, end)| *end);
    let mut links = Vec::new();
    loop {
        at = until(at, &|c| !space(c) && c != b'/')?;
        if text[at] == b'>' {
            return Some(Tag { length: at + 1, raw, links });
        }
        // An equals sign may begin a name.
        let end = until(at + 1, &|c| space(c) || matches!(c, b'/' | b'>' | b'='))?;
        let key = text[at..end].to_ascii_lowercase();
        at = until(end, &|c| !space(c))?;
        if text[at] != b'=' {
            continue;
        }
        at = until(at + 1, &|c| !space(c))?;
        let value = match text[at] {
            quote @ (b'"' | b'\'') => {
                let end = until(at + 1, &|c| c == quote)?;
                let value = at + 1..end;
                at = end + 1;
                value
            }
            _ => {
                let begin = at;
                at = until(at, &|c| space(c) || c == b'>')?;
                begin..at
            }
        };
        if attributes.iter().any(|known| known.as_bytes() == key) {
            links.push(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> Links {
        let hosts = vec!["10.0.0.1:80".to_owned(), "api:6443".to_owned()];
        Links { prefix: "/PRE/proxy".into(), hosts }
    }

    #[test]
    fn links_of_the_program_come_through_here() {
        for (link, expected) in [
            ("/login?x=1", Some("/PRE/proxy/login?x=1")),
            ("http://10.0.0.1:80/a", Some("/PRE/proxy/a")),
            ("HTTPS://api:6443/a#b", Some("/PRE/proxy/a#b")),
            ("//api:6443/a", Some("/PRE/proxy/a")),
            ("http://api:6443/PRE/proxy/a", Some("/PRE/proxy/a")),
            ("/PRE/proxy/a", None),
            ("http://elsewhere/a", None),
            ("//elsewhere/a", None),
            ("http://10.0.0.1:80", None),
            ("a/b", None),
            ("../a", None),
            ("#a", None),
            ("mailto:a@b", None),
            ("", None),
            ("é", None),
        ] {
            assert_eq!(links().through(link).as_deref(), expected, "{link}");
        }
    }

    fn rewritten<'a>(parts: impl Iterator<Item = &'a [u8]>) -> String {
        let mut page = Page::new(links());
        let mut out = Vec::new();
        parts.for_each(|part| page.feed(part, &mut out));
        page.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_links_of_tags_change() {
        for (page, expected) in [
            (r#"<a href="/rewriteme">test</a>"#, r#"<a href="/PRE/proxy/rewriteme">test</a>"#),
            ("<A\nHREF = '/x' class=\"/x\" >", "<A\nHREF = '/PRE/proxy/x' class=\"/x\" >"),
            ("<img src=/x/y.png alt=/z>", "<img src=/PRE/proxy/x/y.png alt=/z>"),
            ("<link href=\"/a?b&amp;c\"/>", "<link href=\"/PRE/proxy/a?b&amp;c\"/>"),
            ("<video poster='/p' src='/s'>", "<video poster='/PRE/proxy/p' src='/PRE/proxy/s'>"),
            ("<a href=>", "<a href=>"),
            ("<a title='>' href='/x'>", "<a title='>' href='/PRE/proxy/x'>"),
            ("<div href='/x'>", "<div href='/x'>"),
            ("1 < 2 <> <3 <", "1 < 2 <> <3 <"),
            ("<!-- <a href='/x'> > -->", "<!-- <a href='/x'> > -->"),
            ("<!--><a href='/x'>", "<!--><a href='/PRE/proxy/x'>"),
            ("<!doctype html><a href='/x'>", "<!doctype html><a href='/PRE/proxy/x'>"),
            (
                "<script src=/s>'<a href=\"/x\">'</SCRIPT><a href=/x>",
                "<script src=/PRE/proxy/s>'<a href=\"/x\">'</SCRIPT><a href=/PRE/proxy/x>",
            ),
            ("<a href='/x", "<a href='/x"),
            ("é<a href='/é'>", "é<a href='/PRE/proxy/é'>"),
        ] {
            assert_eq!(rewritten([page.as_bytes()].into_iter()), expected);
            // Wherever it is cut.
            assert_eq!(rewritten(page.as_bytes().chunks(1)), expected);
            for at in 0..page.len() {
                let (one, other) = page.as_bytes().split_at(at);
                assert_eq!(rewritten([one, other].into_iter()), expected, "{at}");
            }
        }
    }

    #[test]
    fn what_never_ends_is_not_kept() {
        for begin in ["<!-- ", "<script>", "<a href='/", "<!x "] {
            let mut page = Page::new(links());
            let mut out = Vec::new();
            page.feed(begin.as_bytes(), &mut out);
            for _ in 0..8 {
                page.feed(&vec![b'x'; MAX_TAG / 2], &mut out);
                assert!(page.rest.len() <= MAX_TAG, "{begin}");
            }
            page.finish(&mut out);
            assert_eq!(out.len(), begin.len() + 4 * MAX_TAG);
        }
    }
}
