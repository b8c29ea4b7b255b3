//! What a sampler works on that runs with the model: logits in one array, and beside them, once they are no longer all tokens in order, whose they
//! are. The arithmetic is the original's on this path (its graph, in float), which is not that of [`Candidates`](super::Candidates).

/// The logits of one output on their way through a chain, and what the chain made of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// What a sampler takes out is `-inf`; only `top_k` and a temperature of zero make the list shorter.
    pub logits: Vec<f32>,
    /// The token of each logit; `None`: all tokens in order.
    pub candidates: Option<Vec<i32>>,
    /// Of each logit, once a sampler has drawn from them.
    pub probs: Option<Vec<f32>>,
    pub token: Option<i32>,
}

impl Row {
    /// For the next output: `n` logits to be filled.
    pub fn begin(&mut self, n: usize) -> &mut [f32] {
        (self.candidates, self.probs, self.token) = (None, None, None);
        self.logits.resize(n, 0.0);
        &mut self.logits
    }

    pub fn id(&self, i: usize) -> i32 {
        self.candidates.as_ref().map_or(i as i32, |c| c.get(i).copied().unwrap_or(-1))
    }

    /// Keeps the logits at these indices, in this order.
    pub fn keep(&mut self, of: &[usize]) {
        self.candidates = Some(of.iter().map(|i| self.id(*i)).collect());
        self.logits = of.iter().filter_map(|i| self.logits.get(*i).copied()).collect();
    }

    /// The largest logit, the last among equals.
    pub fn argmax(&self) -> Option<usize> {
        let mut max = f32::NEG_INFINITY;
        let mut best = 0;
        for (i, l) in self.logits.iter().enumerate() {
            max = super::candidates::max(max, *l);
            if max == *l {
                best = i;
            }
        }
        (!self.logits.is_empty()).then_some(best)
    }

    pub fn softmax(&self) -> Vec<f32> {
        softmax(&self.logits)
    }

    /// Takes out what `stays` does not want.
    pub fn mask(&mut self, stays: impl Fn(usize, f32) -> bool) {
        let gone = |(i, l): (usize, &mut f32)| *l = if stays(i, *l) { *l } else { f32::NEG_INFINITY };
        self.logits.iter_mut().enumerate().for_each(gone);
    }
}

/// Summed in double, divided in float.
pub fn softmax(logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, super::candidates::max);
    let mut p: Vec<f32> = logits.iter().map(|l| (l - max).exp()).collect();
    let sum: f64 = p.iter().map(|x| f64::from(*x)).sum();
    let scale = (1.0 / sum) as f32;
    p.iter_mut().for_each(|x| *x *= scale);
    p
}

/// Where a sampler runs, as its name tells once somebody has asked it to run with the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    #[default]
    Apart,
    WithModel,
    /// It was asked and cannot.
    Refused,
}

impl Place {
    /// Of the names of the three cases.
    pub fn of(self, names: [&'static std::ffi::CStr; 3]) -> &'static std::ffi::CStr {
        names[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_follow_their_logits() {
        let mut r = Row::default();
        r.begin(4).copy_from_slice(&[1.0, 4.0, 4.0, 2.0]);
        assert_eq!((r.argmax(), r.id(2)), (Some(2), 2), "the last among equals");
        r.keep(&[1, 3, 0]);
        assert_eq!((r.logits.as_slice(), r.candidates.as_deref()), (&[4.0, 2.0, 1.0][..], Some(&[1, 3, 0][..])));
        r.keep(&[2]);
        assert_eq!((r.id(0), r.id(1), r.logits[0]), (0, -1, 1.0));
        r.begin(2);
        assert_eq!((r.id(1), r.candidates), (1, None));
    }

    #[test]
    fn what_is_masked_has_no_probability() {
        let mut r = Row::default();
        r.begin(3).copy_from_slice(&[0.0, 1.0, 0.0]);
        r.mask(|i, _| i != 1);
        assert_eq!(r.softmax(), [0.5, 0.0, 0.5]);
        assert_eq!(Row::default().argmax(), None);
        assert!(softmax(&[f32::NEG_INFINITY; 2]).iter().all(|p| p.is_nan()), "nothing is left: no number, and no panic");
    }
}
