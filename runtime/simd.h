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

/* clang gives clones of static functions in different files one name. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
	!defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define PAI_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define PAI_CLONES
#endif

/* 1 for NaN and infinity: an exponent of ones. A loop over bits is one that compilers widen. */
static inline uint32_t pai_not_finite(float x)
{
	uint32_t bits;
	memcpy(&bits, &x, sizeof bits);
	return (bits & 0x7f800000) == 0x7f800000;
}

#endif
