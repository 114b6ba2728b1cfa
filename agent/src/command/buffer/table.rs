//! Columns of text, in cells: a Japanese character takes two.

use tidegate::language::sheet::{cells, left as to_left, right, widest};

/// Lays rows out: the first `left` columns to the left, the others to the right, two spaces between.
pub(super) fn table(rows: &[Vec<String>], left: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let column = |column: usize| rows.iter().filter_map(move |row| row.get(column)).map(String::as_str);
    let widths: Vec<usize> = (0..columns).map(|index| widest(column(index))).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            if column > 0 {
                line.push_str("  ");
            }
            let width = widths[column];
            line.push_str(&if column < left { to_left(cell, width) } else { right(cell, width) });
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Cuts a text to so many cells; a cut one ends in `…`.
pub(super) fn cut(text: &str, width: usize) -> String {
    if cells(text) <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(1);
    let mut out = String::new();
    let mut used = 0;
    for character in text.chars() {
        used += cells(character.encode_utf8(&mut [0; 4]));
        if used > room {
            break;
        }
        out.push(character);
    }
    out + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_left_and_figures_right() {
        let rows = [["lane", "waiting"], ["critical", "1"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows, 1), "lane      waiting\ncritical        1\n");
        assert_eq!(table(&[], 1), "");
    }

    #[test]
    fn a_text_is_cut_at_characters() {
        assert_eq!(cut("température", 5), "temp…");
        assert_eq!(cut("temp", 4), "temp");
        assert_eq!(cut("temp", 0), "…");
        assert_eq!(cut("温度計", 6), "温度計");
        assert_eq!(cut("温度計", 5), "温度…");
        assert_eq!(cut("温度計", 4), "温…");
    }
}
