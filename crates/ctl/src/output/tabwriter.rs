//! Columns that are as wide as their cells, as Go's `text/tabwriter` lays them out: a cell ends
//! with a tab, and a column is a run of lines that have such a cell in that place.

/// How wide columns are at least, and the space behind the widest cell.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Least width of a column, padding included.
    pub min_width: usize,
    /// Spaces behind the widest cell.
    pub padding: usize,
}

/// Of `kubectl get`.
pub const TABLE: Layout = Layout { min_width: 6, padding: 3 };
/// Of `kubectl describe`.
pub const DESCRIBE: Layout = Layout { min_width: 0, padding: 2 };

/// Lays out a text of lines with tabs.
pub fn align(text: &str, layout: Layout) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|_| Vec::new()).collect();
    measure(&lines, &mut widths, 0..lines.len(), 0, layout);
    let mut out = String::with_capacity(text.len() * 2);
    for (cells, widths) in lines.iter().zip(&widths) {
        for (at, cell) in cells.iter().enumerate() {
            out.push_str(cell);
            // The last cell ends with the line and is not padded.
            if let Some(width) = widths.get(at).filter(|_| at + 1 < cells.len()) {
                let spaces = width.saturating_sub(cell.chars().count());
                out.extend(std::iter::repeat_n(' ', spaces));
            }
        }
        out.push('\n');
    }
    if !text.ends_with('\n') {
        out.pop();
    }
    out
}

fn measure(
    lines: &[Vec<&str>],
    widths: &mut [Vec<usize>],
    range: std::ops::Range<usize>,
    column: usize,
    layout: Layout,
) {
    let has_cell = |line: &Vec<&str>| line.len() > column + 1;
    let mut at = range.start;
    while at < range.end {
        if !has_cell(&lines[at]) {
            at += 1;
            continue;
        }
        let start = at;
        while at < range.end && has_cell(&lines[at]) {
            at += 1;
        }
        let cells = lines[start..at].iter().map(|line| line[column].chars().count());
        let width = cells.map(|n| n + layout.padding).max().unwrap_or(0).max(layout.min_width);
        widths[start..at].iter_mut().for_each(|line| line.push(width));
        measure(lines, widths, start..at, column + 1, layout);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_runs_of_lines() {
        let text =
            "Name:\tweb\nLabels:\ta=b\n\tc=d\nContainers:\n  x:\n    Image:\tnginx\n    ID:\n";
        let expected = "Name:    web\nLabels:  a=b\n         c=d\nContainers:\n  x:\n    Image:  nginx\n    ID:\n";
        assert_eq!(align(text, DESCRIBE), expected);
        assert_eq!(align("A\tB\na\tb\n", TABLE), "A     B\na     b\n");
        assert_eq!(align("NAMES\tB\na\tb\n", TABLE), "NAMES   B\na       b\n");
    }
}
