/* simd.h -- loops compiled for more than one instruction set.
 *
 * PAI_CLONES before a function makes the compiler build it for AVX2 and for the baseline; which one
 * runs is settled when the program starts. Contraction to fused multiply-add is off (the build sets
 * -ffp-contract=off), so both give the same bits as long as each element is computed on its own.
 */
#ifndef PAI_SIMD_H
#define PAI_SIMD_H

#include <stdint.h>
#include <string.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

/* clang gives clones of static functions in different files one name. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
	!defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define PAI_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define PAI_CLONES
#endif

enum { PAI_INFINITE = 0x7f800000 }; /* the magnitude of infinity; those of NaN lie above */

/* Orders numbers by size, NaN above all: what is largest over a loop tells whether all are finite.
 * A loop over bits is one that compilers widen. */
static inline uint32_t pai_magnitude(float x)
{
	uint32_t bits;
	memcpy(&bits, &x, sizeof bits);
	return bits & 0x7fffffff;
}

static inline uint32_t pai_larger(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

/* Subnormal numbers count as 0 in this thread until the modes it had are put back: a fading memory
 * of gradients ends in them and stays there, and machines are slow with them. */
static inline unsigned pai_flush_subnormals(void)
{
#ifdef __SSE__
	unsigned modes = _mm_getcsr();
	_mm_setcsr(modes | 0x8040); /* results, operands */
	return modes;
#else
	return 0;
#endif
}

static inline void pai_put_modes(unsigned modes)
{
#ifdef __SSE__
	_mm_setcsr(modes);
#else
	(void)modes;
#endif
}

#endif
