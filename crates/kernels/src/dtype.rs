//! The tensor types of ggml: names, block lengths, block bytes. Sizes only; codecs live in `quant/`.

/// A tensor element type as it stands in files. The discriminant is ggml's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[allow(non_camel_case_types, reason = "the field's names")]
pub enum DType {
    F32 = 0,
    F16 = 1,
    Q4_0 = 2,
    Q4_1 = 3,
    Q5_0 = 6,
    Q5_1 = 7,
    Q8_0 = 8,
    Q8_1 = 9,
    Q2_K = 10,
    Q3_K = 11,
    Q4_K = 12,
    Q5_K = 13,
    Q6_K = 14,
    Q8_K = 15,
    IQ2_XXS = 16,
    IQ2_XS = 17,
    IQ3_XXS = 18,
    IQ1_S = 19,
    IQ4_NL = 20,
    IQ3_S = 21,
    IQ2_S = 22,
    IQ4_XS = 23,
    I8 = 24,
    I16 = 25,
    I32 = 26,
    I64 = 27,
    F64 = 28,
    IQ1_M = 29,
    BF16 = 30,
    TQ1_0 = 34,
    TQ2_0 = 35,
    MXFP4 = 39,
    NVFP4 = 40,
    Q1_0 = 41,
    Q2_0 = 42,
}

impl DType {
    /// (type, name, elements per block, bytes per block), in ggml's order.
    pub const TABLE: &[(DType, &str, usize, usize)] = &[
        (DType::F32, "f32", 1, 4),
        (DType::F16, "f16", 1, 2),
        (DType::Q4_0, "q4_0", 32, 18),
        (DType::Q4_1, "q4_1", 32, 20),
        (DType::Q5_0, "q5_0", 32, 22),
        (DType::Q5_1, "q5_1", 32, 24),
        (DType::Q8_0, "q8_0", 32, 34),
        (DType::Q8_1, "q8_1", 32, 36),
        (DType::Q2_K, "q2_K", 256, 84),
        (DType::Q3_K, "q3_K", 256, 110),
        (DType::Q4_K, "q4_K", 256, 144),
        (DType::Q5_K, "q5_K", 256, 176),
        (DType::Q6_K, "q6_K", 256, 210),
        (DType::Q8_K, "q8_K", 256, 292),
        (DType::IQ2_XXS, "iq2_xxs", 256, 66),
        (DType::IQ2_XS, "iq2_xs", 256, 74),
        (DType::IQ3_XXS, "iq3_xxs", 256, 98),
        (DType::IQ1_S, "iq1_s", 256, 50),
        (DType::IQ4_NL, "iq4_nl", 32, 18),
        (DType::IQ3_S, "iq3_s", 256, 110),
        (DType::IQ2_S, "iq2_s", 256, 82),
        (DType::IQ4_XS, "iq4_xs", 256, 136),
        (DType::I8, "i8", 1, 1),
        (DType::I16, "i16", 1, 2),
        (DType::I32, "i32", 1, 4),
        (DType::I64, "i64", 1, 8),
        (DType::F64, "f64", 1, 8),
        (DType::IQ1_M, "iq1_m", 256, 56),
        (DType::BF16, "bf16", 1, 2),
        (DType::TQ1_0, "tq1_0", 256, 54),
        (DType::TQ2_0, "tq2_0", 256, 66),
        (DType::MXFP4, "mxfp4", 32, 17),
        (DType::NVFP4, "nvfp4", 64, 36),
        (DType::Q1_0, "q1_0", 128, 18),
        (DType::Q2_0, "q2_0", 64, 18),
    ];

    /// The type with ggml's number `n`; `None` for a number no file may use.
    pub fn from_ggml(n: u32) -> Option<DType> {
        Self::TABLE.iter().map(|r| r.0).find(|t| *t as u32 == n)
    }
    fn row(self) -> &'static (DType, &'static str, usize, usize) {
        // Every variant has a row: a test walks them.
        Self::TABLE.iter().find(|r| r.0 == self).unwrap_or(&Self::TABLE[0])
    }
    /// ggml's name, e.g. `q4_K`.
    pub fn name(self) -> &'static str {
        self.row().1
    }
    /// Elements per block.
    pub fn block_len(self) -> usize {
        self.row().2
    }
    /// Bytes per block.
    pub fn block_bytes(self) -> usize {
        self.row().3
    }
    /// Bytes of a row of `k` elements; `k` must be a multiple of `block_len`. `None` on overflow or a ragged row.
    pub fn row_bytes(self, k: usize) -> Option<usize> {
        if !k.is_multiple_of(self.block_len()) {
            return None;
        }
        (k / self.block_len()).checked_mul(self.block_bytes())
    }
    pub fn is_quantized(self) -> bool {
        self.block_len() > 1
    }
}
