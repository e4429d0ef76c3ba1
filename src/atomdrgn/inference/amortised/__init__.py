"""The amortised fit: an encoder and a decoder, trained by gradient."""
