//! Where in a file something stands, as a person counts: lines and characters; no meaning.

/// A place in the bytes; lines end with LF, CRLF or a lone CR.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) offset: usize,
    pub(super) line: u32,
}

impl Place<'_> {
    pub(super) fn advance_to(&mut self, offset: usize) {
        let end = offset.min(self.bytes.len());
        while self.offset < end {
            let next_is_lf = self.bytes.get(self.offset + 1) == Some(&b'\n');
            match self.bytes[self.offset] {
                b'\n' => self.line = self.line.saturating_add(1),
                b'\r' if !next_is_lf => self.line = self.line.saturating_add(1),
                _ => {}
            }
            self.offset += 1;
        }
    }

    /// Past line ends and comments, as the CSV reader does.
    pub(super) fn skip_to_record(&mut self) {
        while let Some(byte) = self.bytes.get(self.offset) {
            let rest = &self.bytes[self.offset..];
            match byte {
                b'\r' | b'\n' => self.advance_to(self.offset + 1),
                b'#' => {
                    let length = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
                    self.advance_to(self.offset + length);
                }
                _ => return,
            }
        }
    }

    /// Line and character column where field `index` of the record that starts here begins.
    pub(super) fn field(&self, index: usize) -> (u32, u32) {
        let text = String::from_utf8_lossy(self.bytes.get(self.offset..).unwrap_or(&[]));
        let (mut line, mut column, mut field) = (self.line, 1_usize, 0);
        let (mut quoted, mut at_start, mut leading) = (false, true, true);
        for c in text.chars() {
            let ends_line = c == '\n' || c == '\r';
            let blank = leading && (c == ' ' || c == '\t');
            if (field == index && !blank) || (ends_line && !quoted) {
                break;
            }
            match c {
                '"' if at_start || quoted => quoted = !quoted,
                ',' if !quoted => field += 1,
                '\n' => (line, column) = (line.saturating_add(1), 0),
                _ => {}
            }
            at_start = c == ',' && !quoted;
            leading = at_start || blank;
            column += 1;
        }
        (line, saturate(column))
    }
}

pub(super) fn saturate(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// At most 32 characters of a hostile value, without control characters.
pub(super) fn shorten(value: &str) -> String {
    let mut short = String::new();
    for c in value.chars().take(32) {
        if c.is_control() { short.extend(c.escape_unicode()) } else { short.push(c) }
    }
    if value.chars().nth(32).is_some() {
        short.push('…');
    }
    short
}
