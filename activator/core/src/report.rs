//! The order of activity reports: numbers without gaps, and when a full one is due.

/// Stamps reports of one incarnation.
#[derive(Debug)]
pub struct Reports {
    sequence: u64,
    full_due: bool,
}

impl Default for Reports {
    fn default() -> Self {
        Self {
            sequence: 0,
            full_due: true,
        }
    }
}

/// What one report says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// From 1, growing by one.
    pub sequence: u64,
    /// What is missing in it is quiet.
    pub full: bool,
}

impl Reports {
    /// Somebody missed something: the next report is a full one.
    pub const fn ask_full(&mut self) {
        self.full_due = true;
    }

    /// Whether the next report is a full one.
    #[must_use]
    pub const fn is_full_due(&self) -> bool {
        self.full_due
    }

    /// The stamp of the next report. A full report too large for one message goes on in ordinary ones
    /// with the numbers after it: a lost part is a gap, and a gap is asked about.
    pub const fn stamp(&mut self) -> Stamp {
        self.sequence += 1;
        let full = self.full_due;
        self.full_due = false;
        Stamp {
            sequence: self.sequence,
            full,
        }
    }
}

/// Splits entries of known encoded sizes into runs that each fit into `most` bytes.
#[must_use]
pub fn split(sizes: &[usize], most: usize) -> Vec<usize> {
    let mut runs = Vec::new();
    let (mut count, mut bytes) = (0, 0);
    for size in sizes {
        if count > 0 && bytes + size > most {
            runs.push(count);
            (count, bytes) = (0, 0);
        }
        count += 1;
        bytes += size;
    }
    if count > 0 || runs.is_empty() {
        runs.push(count);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_report_is_full_and_numbers_have_no_gap() {
        let mut reports = Reports::default();
        assert_eq!(
            reports.stamp(),
            Stamp {
                sequence: 1,
                full: true
            }
        );
        assert_eq!(
            reports.stamp(),
            Stamp {
                sequence: 2,
                full: false
            }
        );
        reports.ask_full();
        assert!(reports.is_full_due());
        assert_eq!(
            reports.stamp(),
            Stamp {
                sequence: 3,
                full: true
            }
        );
    }

    #[test]
    fn nothing_to_say_is_one_empty_report_and_much_is_several() {
        assert_eq!(split(&[], 10), [0]);
        assert_eq!(split(&[4, 4, 4, 9, 20, 1], 10), [2, 1, 1, 1, 1]);
        assert_eq!(split(&[5; 10_000], 50).iter().sum::<usize>(), 10_000);
    }
}
