//! `Content-Disposition` of a form's part, as browsers, curl and libraries write it.

/// The names of a part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Field {
    /// The name of the form's field.
    pub(crate) name: Option<String>,
    /// The name of the file.
    pub(crate) filename: Option<String>,
}

impl Field {
    /// Returns the key: the file's name if it has one, else the field's.
    pub(crate) fn key(&self) -> Option<&str> {
        let filename = self.filename.as_deref().filter(|name| !name.is_empty());
        filename.or(self.name.as_deref())
    }
}

/// Reads the value of the header.
///
/// Of backslashes only those before a quote escape it: browsers write others as they are (WHATWG HTML, "multipart
/// form data"). Percent signs are left alone for the same reason. `filename*` (RFC 8187) beats `filename`.
pub(crate) fn parse(value: &str) -> Result<Field, &'static str> {
    let (kind, mut rest) = value.split_once(';').unwrap_or((value, ""));
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err("its Content-Disposition is not form-data");
    }
    let mut field = Field::default();
    let mut extended = None;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        if rest.is_empty() {
            break;
        }
        let (name, behind) = rest.split_once('=').ok_or("a parameter of Content-Disposition has no value")?;
        let (value, behind) = match behind.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = behind.find(';').unwrap_or(behind.len());
                (behind[..end].trim().to_owned(), &behind[end..])
            }
        };
        rest = behind.trim_start();
        if !rest.is_empty() && !rest.starts_with(';') {
            return Err("a parameter of Content-Disposition is malformed");
        }
        let slot = match name.trim().to_ascii_lowercase().as_str() {
            "name" => &mut field.name,
            "filename" => &mut field.filename,
            "filename*" => &mut extended,
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err("a parameter of Content-Disposition stands twice");
        }
    }
    if let Some(extended) = extended {
        field.filename = Some(decode(&extended)?);
    }
    match field.key() {
        Some(_) => Ok(field),
        None => Err("it has neither a name nor a filename"),
    }
}

/// Returns the text up to the closing quote, and what follows it.
fn unquote(text: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"').ok_or("a quote in Content-Disposition does not end")?;
        let (before, behind) = (&rest[..end], &rest[end + 1..]);
        rest = behind;
        match before.strip_suffix('\\') {
            // A name that ends in a backslash is written without an escape; then nothing but a parameter follows.
            Some(_) if behind.is_empty() || behind.starts_with(';') => value.push_str(before),
            Some(before) => {
                value.push_str(before);
                value.push('"');
                continue;
            }
            None => value.push_str(before),
        }
        return Ok((value, rest));
    }
}

/// Reads `UTF-8'language'percent-encoded`.
fn decode(extended: &str) -> Result<String, &'static str> {
    const BAD: &str = "its filename* is malformed or not UTF-8";
    let mut parts = extended.splitn(3, '\'');
    let (Some(charset), Some(_), Some(text)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(BAD);
    };
    if !charset.eq_ignore_ascii_case("utf-8") {
        return Err(BAD);
    }
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8().map_err(|_| BAD)?;
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: &str) -> Result<String, &'static str> {
        parse(value).map(|field| field.key().unwrap().to_owned())
    }

    #[test]
    fn names_are_read_as_clients_write_them() {
        let rows = [
            (r#" form-data; name="field""#, "field"),
            (r#"form-data; name="f"; filename="a b.txt""#, "a b.txt"),
            (r#"FORM-DATA; NAME="f"; FILENAME="site/index.html""#, "site/index.html"),
            (r#"form-data; name="f"; filename="""#, "f"),
            (r#"form-data; filename="日本.png"; name=f"#, "日本.png"),
            (r#"form-data; name=f; filename=plain.txt"#, "plain.txt"),
            (r#"form-data ; name = "f" ; filename = "x""#, "x"),
            (r#"form-data; name="f"; filename="a;b=c.txt""#, "a;b=c.txt"),
            // curl before 7.81 and others escape, browsers do not.
            (r#"form-data; name="f"; filename="say \"hi\".txt""#, "say \"hi\".txt"),
            (r#"form-data; name="f"; filename="a\b.txt""#, r"a\b.txt"),
            (r#"form-data; name="f"; filename="ends\""#, r"ends\"),
            (r#"form-data; filename="ends\"; name="f""#, r"ends\"),
            (r#"form-data; name="f"; filename="say %22hi%22""#, "say %22hi%22"),
            (r#"form-data; name="f"; filename="x"; filename*=UTF-8''%e6%97%a5.txt"#, "日.txt"),
            (r#"form-data; name="f"; size=4; filename="x""#, "x"),
        ];
        for (value, expected) in rows {
            assert_eq!(key(value).as_deref(), Ok(expected), "{value}");
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for value in [
            "",
            "attachment; filename=x",
            "form-data",
            "form-data; name",
            r#"form-data; filename="""#,
            r#"form-data; name="open"#,
            r#"form-data; name="a"b"#,
            r#"form-data; name="a"; name="b""#,
            r#"form-data; name="a"; filename*=latin-1''x"#,
            r#"form-data; name="a"; filename*=UTF-8''%ff"#,
            r#"form-data; name="a"; filename*=x"#,
        ] {
            assert!(key(value).is_err(), "{value}");
        }
    }
}
