//! One value of a file, taken as what its reader wants it to be.
//!
//! Where a number or a list is wanted a string will do, so that a variable can stand for it. What
//! the texts in it mean is in `values`.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::expand::expand;
use super::table::{Scope, Table};
use super::values;
use super::wrong::{Parsed, Wrong};

/// A value that was asked for.
#[derive(Clone, Debug)]
pub(super) struct Value<'a> {
    pub(super) scope: Scope<'a>,
    pub(super) path: String,
    pub(super) is: &'a DeValue<'a>,
    pub(super) span: Range<usize>,
}

impl<'a> Value<'a> {
    /// Takes the value, or reports why it cannot be taken.
    pub(super) fn read<T>(&self, take: impl FnOnce(&Value<'a>) -> Parsed<T>) -> Option<T> {
        take(self).map_err(|wrong| self.scope.report(&self.path, self.span.clone(), wrong)).ok()
    }

    pub(super) fn is_table(&self) -> bool {
        self.is.is_table()
    }

    pub(super) fn is_text(&self) -> bool {
        self.is.is_str()
    }

    pub(super) fn is_flag(&self) -> bool {
        self.is.is_bool()
    }

    pub(super) fn is_array(&self) -> bool {
        self.is.is_array()
    }

    /// A table, to be read key by key.
    pub(super) fn table(&self) -> Parsed<Table<'a>> {
        let entries = self.is.as_table().ok_or_else(|| {
            self.unfit("a table").hint(format!("write [{}] or {{ KEY = VALUE, … }}", self.path))
        })?;
        Ok(Table::new(self.scope, self.path.clone(), self.span.clone(), Some(entries)))
    }

    /// A list of tables, or one of them.
    pub(super) fn tables(&self) -> Parsed<Vec<Table<'a>>> {
        let DeValue::Array(items) = self.is else { return Ok(vec![self.table()?]) };
        let at = |item: &'a Spanned<DeValue<'a>>| {
            let value = Value { is: item.get_ref(), span: item.span(), ..self.clone() };
            value.table().map_err(|wrong| wrong.at(item.span()))
        };
        items.iter().map(at).collect()
    }

    /// A string with its variables put in.
    pub(super) fn text(&self) -> Parsed<String> {
        let text = self.is.as_str().ok_or_else(|| match self.is {
            DeValue::Integer(number) => {
                self.unfit("a string").hint(format!("write \"{}\"", number.as_str()))
            }
            _ => self.unfit("a string").hint("write it in quotes"),
        })?;
        expand(text, self.scope.variables)
    }

    /// A string that is turned into something.
    pub(super) fn parse<T>(&self, parse: impl FnOnce(&str) -> Parsed<T>) -> Parsed<T> {
        parse(&self.text()?)
    }

    /// A whole number from 0; a numeric string is one too.
    pub(super) fn number(&self) -> Parsed<u32> {
        match self.is {
            DeValue::Integer(n) => {
                let number = u32::from_str_radix(n.as_str(), n.radix()).ok();
                number.ok_or_else(|| values::no_number(&n.to_string()))
            }
            DeValue::String(_) => self.parse(values::number),
            _ => Err(self.unfit("a whole number").hint("write one without quotes, as in 4")),
        }
    }

    /// A whole number that may have a sign; a numeric string is one too.
    pub(super) fn integer(&self) -> Parsed<i64> {
        let (text, radix) = match self.is {
            DeValue::Integer(n) => (n.as_str().to_owned(), n.radix()),
            DeValue::String(_) => (self.text()?.trim().to_owned(), 10),
            _ => return Err(self.unfit("a whole number").hint("write one, as in -5")),
        };
        i64::from_str_radix(&text, radix).ok().ok_or_else(|| {
            Wrong::new(format!("'{text}' is not a whole number")).hint("write one, as in -5")
        })
    }

    /// A number that may have a sign and a fraction; a numeric string is one too.
    pub(super) fn decimal(&self) -> Parsed<f64> {
        let unfit = || self.unfit("a number").hint("write one, as in 2.0");
        let text = match self.is {
            DeValue::Integer(n) if n.radix() == 10 => n.as_str().to_owned(),
            DeValue::Float(n) => n.as_str().to_owned(),
            DeValue::String(_) => self.text()?,
            _ => return Err(unfit()),
        };
        let number = text.replace('_', "").trim().parse().ok();
        number.filter(|number: &f64| number.is_finite()).ok_or_else(|| {
            Wrong::new(format!("'{text}' is not a number")).hint("write one, as in 2.0")
        })
    }

    /// A list of whole numbers, one number, or a string with commas.
    pub(super) fn numbers(&self) -> Parsed<Vec<u32>> {
        match self.is {
            DeValue::Array(items) => {
                let at = |item: &'a Spanned<DeValue<'a>>| {
                    let value = Value { is: item.get_ref(), span: item.span(), ..self.clone() };
                    value.number().map_err(|wrong| wrong.at(item.span()))
                };
                items.iter().map(at).collect()
            }
            DeValue::String(_) => self.each(values::number),
            _ => Ok(vec![self.number()?]),
        }
    }

    /// `true` or `false`, also as a string.
    pub(super) fn flag(&self) -> Parsed<bool> {
        match self.is {
            DeValue::Boolean(flag) => Ok(*flag),
            DeValue::String(_) => self.parse(values::flag),
            _ => Err(self.unfit("true or false").hint("write true or false")),
        }
    }

    /// A duration such as `"2m 30s"`.
    pub(super) fn duration(&self) -> Parsed<Duration> {
        match self.is {
            DeValue::Integer(number) => Err(Wrong::new("a duration needs its unit")
                .hint(format!("write \"{}s\" for seconds", number.as_str()))),
            _ => self.parse(values::duration),
        }
    }

    /// A number of bytes such as `"64MiB"`.
    pub(super) fn size(&self) -> Parsed<u64> {
        match self.is {
            DeValue::Integer(number) => Err(Wrong::new("a size needs its unit")
                .hint(format!("write \"{}B\", or as in \"64MiB\"", number.as_str()))),
            _ => self.parse(values::size),
        }
    }

    /// Permission bits: an octal string, or a TOML octal number.
    pub(super) fn mode(&self) -> Parsed<u32> {
        match self.is {
            DeValue::Integer(n) if n.radix() == 8 => values::mode(n.as_str()),
            DeValue::Integer(n) => Err(Wrong::new("permission bits are octal")
                .hint(format!("write \"0{}\"", n.as_str().trim_start_matches('0')))),
            _ => self.parse(values::mode),
        }
    }

    /// A path, relative to the file that holds it.
    pub(super) fn path(&self) -> Parsed<PathBuf> {
        let text = self.text()?;
        if text.is_empty() || text.contains('\0') {
            return Err(Wrong::new("an empty path").hint("write one, or leave the key out"));
        }
        Ok(self.scope.source.folder().join(text))
    }

    /// A list of paths, or one string with commas, relative to the file that holds it.
    pub(super) fn paths(&self) -> Parsed<Vec<PathBuf>> {
        let paths = self.each(|path| Ok(self.scope.source.folder().join(path)))?;
        if paths.is_empty() {
            return Err(Wrong::new("an empty list").hint("write a path, or leave the key out"));
        }
        Ok(paths)
    }

    /// A list of strings, or one string with commas; each with its place.
    pub(super) fn list(&self) -> Parsed<Vec<(String, Range<usize>)>> {
        match self.is {
            DeValue::Array(items) => items.iter().map(|item| self.item(item)).collect(),
            DeValue::String(_) => {
                let text = self.text()?;
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Ok(items.map(|item| (item.to_owned(), self.span.clone())).collect())
            }
            _ => Err(self.unfit("a list of strings").hint("write [\"…\", \"…\"]")),
        }
    }

    /// A list whose every item is turned into something; the first that cannot be is the mistake.
    pub(super) fn each<T>(&self, mut parse: impl FnMut(&str) -> Parsed<T>) -> Parsed<Vec<T>> {
        let parse_at = |(item, span): (String, _)| parse(&item).map_err(|wrong| wrong.at(span));
        self.list()?.into_iter().map(parse_at).collect()
    }

    /// A string, number or boolean as text, as the environment of a process holds it.
    pub(super) fn scalar(&self) -> Parsed<String> {
        match self.is {
            DeValue::Integer(number) => Ok(number.to_string()),
            DeValue::Boolean(flag) => Ok(flag.to_string()),
            _ => self.text(),
        }
    }

    fn item(&self, item: &'a Spanned<DeValue<'a>>) -> Parsed<(String, Range<usize>)> {
        let value = Value { is: item.get_ref(), span: item.span(), ..self.clone() };
        let text = value.text().map_err(|wrong| wrong.at(item.span()))?;
        Ok((text, item.span()))
    }

    fn unfit(&self, wanted: &str) -> Wrong {
        let article = if self.is.type_str().starts_with(['a', 'i']) { "an" } else { "a" };
        Wrong::new(format!("{wanted} is wanted, not {article} {}", self.is.type_str()))
    }
}
