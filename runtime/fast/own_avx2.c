/* own_avx2.c -- our arithmetic for AVX2 and FMA. */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma")
#include "runtime/fast/own.h"

#define TABLE pai_own_avx2
#define NAME "own:avx2"
#include "runtime/fast/own_table.inc"
#else
typedef int pai_no_avx2; /* ISO C wants a declaration */
#endif
