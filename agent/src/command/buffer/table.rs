//! Columns of text.

/// Lays rows out: the first `left` columns to the left, the others to the right, two spaces between.
pub(super) fn table(rows: &[Vec<String>], left: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let fill = " ".repeat(widths[column] - cell.chars().count());
            if column > 0 {
                line.push_str("  ");
            }
            if column < left {
                line.push_str(cell);
                line.push_str(&fill);
            } else {
                line.push_str(&fill);
                line.push_str(cell);
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Cuts a text to so many characters; a cut one ends in `…`.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
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
    }
}
