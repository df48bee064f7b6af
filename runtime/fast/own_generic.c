/* own_generic.c -- our arithmetic for any machine, and the choice of the best table. */
#include "runtime/fast/own.h"

#define TABLE pai_own_generic
#define NAME "own:c"
#include "runtime/fast/own_table.inc"

const pai_own *pai_own_pick(void)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		return &pai_own_avx2;
#endif
	return &pai_own_generic;
}
