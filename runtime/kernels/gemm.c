/* gemm.c -- the matrix product under MatMul, Gemm and the convolutions.
 *
 * Both operands are copied into panels of MR rows and NR columns, k running slowest, so that one
 * tile of the result is a loop over k with its sums in registers, which the compiler vectorises. k
 * is never split: the sum of an element is always taken in order of k, and does not depend on where
 * its tile lies. This is the reference that faster code is held against, so it stays this simple.
 */
#include "runtime/kernels/gemm.h"

enum { MR = 4, NR = 8 };

/* One instance per element type; integers wrap because they are added unsigned. */
#define GEMM(T)                                                                                    \
	static void tile_##T(int64_t k, const T *restrict a, const T *restrict b, T *restrict out) \
	{                                                                                          \
		T sum[MR][NR] = {{0}};                                                             \
		for (int64_t p = 0; p < k; p++, a += MR, b += NR)                                  \
			for (int i = 0; i < MR; i++)                                               \
				for (int j = 0; j < NR; j++)                                       \
					sum[i][j] += a[i] * b[j];                                  \
		for (int i = 0; i < MR; i++)                                                       \
			for (int j = 0; j < NR; j++)                                               \
				out[i * NR + j] = sum[i][j];                                       \
	}                                                                                          \
                                                                                                   \
	/* count rows of `width` panel lanes from a strided matrix, the missing lanes 0 */         \
	static void pack_##T(int64_t k, int lanes, int width, const T *from, int64_t lane,         \
			     int64_t step, T *to)                                                  \
	{                                                                                          \
		for (int64_t p = 0; p < k; p++, from += step, to += width)                         \
			for (int i = 0; i < width; i++)                                            \
				to[i] = i < lanes ? from[i * lane] : 0;                            \
	}                                                                                          \
                                                                                                   \
	static void gemm_##T(int64_t m, int64_t n, int64_t k, pai_matrix a, pai_matrix b, T *c,    \
			     int64_t ldc, bool add, T *scratch)                                    \
	{                                                                                          \
		const T *a_at = a.at, *b_at = b.at;                                                \
		T *panel = scratch, *rows = scratch + NR * k, tile[MR * NR];                       \
		for (int64_t i = 0; i < m; i += MR)                                                \
			pack_##T(k, m - i < MR ? (int)(m - i) : MR, MR, a_at + i * a.row, a.row,   \
				 a.column, rows + i * k);                                          \
		for (int64_t j = 0; j < n; j += NR) {                                              \
			int columns = n - j < NR ? (int)(n - j) : NR;                              \
			pack_##T(k, columns, NR, b_at + j * b.column, b.column, b.row, panel);     \
			for (int64_t i = 0; i < m; i += MR) {                                      \
				tile_##T(k, rows + i * k, panel, tile);                            \
				for (int64_t r = 0; r < MR && i + r < m; r++)                      \
					for (int s = 0; s < columns; s++) {                        \
						T *to = &c[(i + r) * ldc + j + s];                 \
						*to = (add ? *to : 0) + tile[r * NR + s];          \
					}                                                          \
			}                                                                          \
		}                                                                                  \
	}

GEMM(float)
GEMM(double)
GEMM(uint32_t)
GEMM(uint64_t)

void pai_gemm(pai_dtype dtype, int64_t m, int64_t n, int64_t k, pai_matrix a, pai_matrix b, void *c,
	      int64_t ldc, bool add, void *scratch)
{
	if (dtype == PAI_FLOAT)
		gemm_float(m, n, k, a, b, c, ldc, add, scratch);
	else if (dtype == PAI_DOUBLE)
		gemm_double(m, n, k, a, b, c, ldc, add, scratch);
	else if (pai_dtype_get(dtype)->bits == 32)
		gemm_uint32_t(m, n, k, a, b, c, ldc, add, scratch);
	else
		gemm_uint64_t(m, n, k, a, b, c, ldc, add, scratch);
}

bool pai_gemm_scratch(pai_dtype dtype, int64_t m, int64_t k, size_t *nbytes)
{
	size_t rows;
	return pai_size_add((size_t)m, MR + NR, &rows) && pai_size_mul(rows, (size_t)k, &rows) &&
	       pai_size_mul(rows, pai_wide_size(dtype), nbytes);
}

pai_dtype pai_wide(pai_dtype dtype)
{
	return dtype == PAI_FLOAT16 || dtype == PAI_BFLOAT16 ? PAI_FLOAT : dtype;
}

size_t pai_wide_size(pai_dtype dtype)
{
	return (size_t)pai_dtype_get(pai_wide(dtype))->bits / 8;
}

pai_status pai_widen(pai_call *c, int input, const void **out)
{
	const pai_tensor *t = c->in[input];
	if (pai_wide(t->dtype) == t->dtype) {
		*out = t->data;
		return PAI_OK;
	}
	int64_t n = pai_tensor_nelem(t);
	void *room = NULL;
	PAI_TRY(pai_call_room(c, n, sizeof(float), &room));
	const uint16_t *from = t->data;
	float *to = room;
	for (int64_t i = 0; i < n; i++)
		to[i] = t->dtype == PAI_FLOAT16 ? pai_half_to_float(from[i])
						: pai_bfloat_to_float(from[i]);
	*out = to;
	return PAI_OK;
}

pai_status pai_wide_output(pai_call *c, int o, void **out)
{
	pai_tensor *t = c->out[o];
	if (pai_wide(t->dtype) != t->dtype)
		return pai_call_room(c, pai_tensor_nelem(t), sizeof(float), out);
	*out = t->data;
	return PAI_OK;
}

void pai_narrow(pai_call *c, int o, const void *wide)
{
	pai_tensor *t = c->out[o];
	if (pai_wide(t->dtype) == t->dtype)
		return;
	const float *from = wide;
	uint16_t *to = t->data;
	for (int64_t i = 0, n = pai_tensor_nelem(t); i < n; i++)
		to[i] = t->dtype == PAI_FLOAT16 ? pai_float_to_half(from[i])
						: pai_float_to_bfloat(from[i]);
}
