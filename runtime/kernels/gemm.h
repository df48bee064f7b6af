/* gemm.h -- matrix product and wide views of tensors, shared by the kernels of this folder. */
#ifndef PAI_GEMM_H
#define PAI_GEMM_H

#include "runtime/kernels/move.h"

typedef struct pai_matrix { /* strides in elements: a transposed matrix has row 1 */
	const void *at;
	int64_t row, column;
} pai_matrix;

/* c[m,n] = a[m,k] b[k,n], or += where add is set. c is row-major with rows ldc apart. dtype is
 * FLOAT, DOUBLE or a 32- or 64-bit integer (wrapping). Every element is summed in order of k, in
 * its own type, whatever the sizes. scratch: pai_gemm_scratch bytes. */
void pai_gemm(pai_dtype dtype, int64_t m, int64_t n, int64_t k, pai_matrix a, pai_matrix b, void *c,
	      int64_t ldc, bool add, void *scratch);
/* False on overflow. */
bool pai_gemm_scratch(pai_dtype dtype, int64_t m, int64_t k, size_t *nbytes);

/* The type a kernel computes in: FLOAT for the 16-bit floats, else the type itself. */
pai_dtype pai_wide(pai_dtype dtype);
size_t pai_wide_size(pai_dtype dtype);
/* Contents of an input in its wide type, copied to scratch only where the types differ. */
PAI_MUST_USE pai_status pai_widen(pai_call *c, int input, const void **out);
/* Where a kernel writes output o in its wide type; pai_narrow then rounds it into the output. */
PAI_MUST_USE pai_status pai_wide_output(pai_call *c, int o, void **out);
void pai_narrow(pai_call *c, int o, const void *wide);

#endif
