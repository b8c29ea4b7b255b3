//! A control vector: a direction for each layer's output but the first's.
use platform::{Error, Result};

/// What was set so far. As in the original, layers that a call does not bring keep what an earlier one brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Control {
    /// Per layer from 1 on, [n_embd].
    rows: Vec<Vec<f32>>,
    /// The layers it is added to.
    within: Option<[i32; 2]>,
}

impl Control {
    /// `data` has rows of `n_embd` from layer 1 on; `None` switches it off.
    pub fn set(&mut self, data: Option<&[f32]>, n_embd: i32, layers: [i32; 2], model: (u32, usize)) -> Result<()> {
        let Some(data) = data else {
            self.within = None;
            return Ok(());
        };
        let (width, n_layer) = model;
        if u32::try_from(n_embd) != Ok(width) {
            return Err(Error::invalid(format!("control vector n_embd {n_embd} does not match the model's {width}")));
        }
        if self.rows.is_empty() {
            self.rows = vec![vec![0.0; width as usize]; n_layer.saturating_sub(1)];
        }
        self.within = Some(layers);
        self.rows.iter_mut().zip(data.chunks_exact(width as usize)).for_each(|(row, d)| row.copy_from_slice(d));
        Ok(())
    }

    /// What layer `il` gets, where that is anything.
    pub fn of(&self, il: usize) -> Option<&[f32]> {
        let [first, last] = self.within?;
        let row = self.rows.get(il.checked_sub(1)?)?;
        let inside = i32::try_from(il).is_ok_and(|il| (first..=last).contains(&il));
        (inside && row.iter().any(|v| *v != 0.0)).then_some(row.as_slice())
    }

    /// The layers that get something, with what they get.
    pub fn all(&self) -> impl Iterator<Item = (usize, &[f32])> {
        (0..=self.rows.len()).filter_map(|il| Some((il, self.of(il)?)))
    }
    pub fn is_off(&self) -> bool {
        self.all().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_that_a_call_does_not_bring_keep_what_they_had() {
        let (mut c, model) = (Control::default(), (2, 4));
        assert!(c.is_off());
        c.set(Some(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), 2, [0, 9], model).expect("three rows");
        assert_eq!([c.of(0), c.of(1), c.of(3), c.of(4)], [None, Some(&[1.0, 2.0][..]), Some(&[5.0, 6.0][..]), None]);
        c.set(Some(&[7.0, 7.0, 9.0]), 2, [1, 2], model).expect("one row and a bit");
        assert_eq!([c.of(1), c.of(2), c.of(3)], [Some(&[7.0, 7.0][..]), Some(&[3.0, 4.0][..]), None]);
        c.set(None, 0, [0, 0], model).expect("off");
        assert!(c.is_off());
        assert!(c.set(Some(&[1.0; 3]), 3, [1, 1], model).is_err_and(|e| e.to_string().contains("n_embd")));
        assert!(c.set(Some(&[1.0; 3]), -2, [1, 1], model).is_err());
        c.set(Some(&[]), 2, [3, 3], model).expect("nothing new");
        assert_eq!(c.of(3), Some(&[5.0, 6.0][..]));
    }
}
