//! Tokens that stand in a file (`--token-auth-file`): `token,user,uid,"group1,group2"` a line.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::User;

/// Tokens and their users. Kept by their hash, so that comparing tells nothing by its time.
#[derive(Debug, Clone, Default)]
pub struct StaticTokens(Arc<HashMap<[u8; 32], User>>);

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl StaticTokens {
    /// Reads the file's content; the error names the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fields = fields(line)
                .ok_or_else(|| format!("line {}: a quotation mark is not closed", number + 1))?;
            let [token, user, uid, groups @ ..] = fields.as_slice() else {
                return Err(format!(
                    "line {}: expected token,user,uid and perhaps groups, found {} columns",
                    number + 1,
                    fields.len()
                ));
            };
            if token.is_empty() {
                return Err(format!("line {}: the token is empty", number + 1));
            }
            let groups = groups.first().map_or("", String::as_str);
            let groups: Vec<&str> =
                groups.split(',').map(str::trim).filter(|group| !group.is_empty()).collect();
            tokens.insert(hash(token), User { uid: uid.clone(), ..User::new(user, &groups) });
        }
        Ok(Self(Arc::new(tokens)))
    }

    /// Who holds a token.
    pub(super) fn find(&self, token: &str) -> Option<User> {
        if self.0.is_empty() { None } else { self.0.get(&hash(token)).cloned() }
    }
}

/// The columns of a line (RFC 4180, without line breaks inside of quotes).
fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                fields.last_mut()?.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields.last_mut()?.push(c),
        }
    }
    for field in &mut fields {
        *field = field.trim().to_owned();
    }
    (!quoted).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file() {
        let tokens = StaticTokens::parse(
            "admin-token,admin,admin,system:masters\n\n# none\nt2,jo,7,\"a,b\"\nt3,solo,8\n",
        )
        .unwrap();
        let groups = |token: &str| tokens.find(token).map(|user| user.groups.join(" "));
        assert_eq!(groups("admin-token").unwrap(), "system:masters system:authenticated");
        assert_eq!(groups("t2").unwrap(), "a b system:authenticated");
        assert_eq!(tokens.find("t3").unwrap().uid, "8");
        assert!(groups("t4").is_none() && groups("").is_none());
        for (text, problem) in [
            ("a,b", "line 1: expected token,user,uid"),
            ("\n,b,c", "line 2: the token is empty"),
            ("a,\"b,c", "line 1: a quotation mark"),
        ] {
            let error = StaticTokens::parse(text).unwrap_err();
            assert!(error.starts_with(problem), "{error}");
        }
    }
}
