//! The bytes of the configuration that a leaf lies in.

/// The bytes of the outermost struct that a leaf lies in. A view of any of these bytes sees the leaf change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteSpan {
    pub(crate) start: usize,
    /// The first byte after it.
    pub(crate) end: usize,
}

/// Where the struct that is read lies in the outermost struct.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BaseOffset {
    /// At this offset.
    Inline(usize),
    /// Somewhere within these bytes, or behind a pointer in them. No offset leads to the fields of a `Box`, so that
    /// each of them has the bytes of the whole.
    Behind(ByteSpan),
}

impl BaseOffset {
    /// The bytes of a `T` at `offset` of the struct.
    pub(crate) fn span<T>(self, offset: usize) -> ByteSpan {
        match self {
            Self::Inline(base) => {
                let start = base + offset;
                ByteSpan { start, end: start + size_of::<T>() }
            }
            Self::Behind(span) => span,
        }
    }

    /// The base of a struct at `offset` of the struct.
    pub(crate) fn inner(self, offset: usize) -> Self {
        match self {
            Self::Inline(base) => Self::Inline(base + offset),
            Self::Behind(_) => self,
        }
    }
}

#[cfg(test)]
mod tests;
