/* quantized.h -- 8-bit quantisation by the range of the contents. */
#ifndef PAI_QUANTIZED_H
#define PAI_QUANTIZED_H

typedef struct pai_byte_range {
	float scale, zero; /* x is about (q - zero) * scale, q in [0, 255] */
} pai_byte_range;

/* For contents in [low, high], low <= 0 <= high, so that 0 is exact. */
pai_byte_range pai_byte_range_of(float low, float high);
float pai_byte_of(pai_byte_range r, float x);

#endif
