/* elementwise.h -- kernels that apply one formula to each element of broadcast operands. Private.
 *
 * A formula is a C expression, expanded by PAI_LOOP1/2/3 into a loop over one row per lane; the
 * engine in elementwise.c walks the broadcast shape row by row and converts what is not in its
 * lane. So a loop sees contiguous operands, or a single element where an operand is broadcast along
 * the row, and float rows run at vector speed on the tensors' own memory.
 */
#ifndef PAI_ELEMENTWISE_H
#define PAI_ELEMENTWISE_H

#include "runtime/kernels/lanes.h"
#include <tgmath.h>

enum { PAI_OPERANDS = 3, PAI_PARAMS = 4 };

typedef union pai_params { /* numbers beside the operands, in the lane's own type */
	float f32[PAI_PARAMS];
	double f64[PAI_PARAMS];
	int64_t i64[PAI_PARAMS];
	uint64_t u64[PAI_PARAMS];
} pai_params;

/* n elements of a row; one[k]: operand k is a single element. `out` may be an operand. */
typedef void (*pai_loop)(int64_t n, void *out, const void *const *in, const bool *one,
			 const pai_params *params);

typedef struct pai_elementwise {
	pai_loop loop[PAI_LANES];      /* NULL: computed as double */
	bool truth;                    /* the result is bool, written as uint8_t by the loop */
	const char *attrs[PAI_PARAMS]; /* float attributes of the node that become params */
} pai_elementwise;

/* Where an operand's sizes meet the result's: right-aligned, or from `axis` on (opset < 7). */
typedef struct pai_operand {
	const pai_tensor *t;
	int skip; /* dimensions of the result right of the operand's last */
} pai_operand;

/* Calls fn for each row of the broadcast of the operands to out's shape: `length` elements, operand
 * k from element at[k] on, or that element alone where one[k]; the result goes to element out_at.
 */
typedef void (*pai_row_fn)(const void *payload, int64_t length, const int64_t *at, const bool *one,
			   int64_t out_at);
void pai_each_row(int n, const pai_operand *in, const pai_tensor *out, pai_row_fn fn,
		  const void *payload);
/* Writes `out`, which has its shape and memory. `lane` is that of the arithmetic. */
pai_status pai_elementwise_apply(pai_call *c, const pai_elementwise *e, pai_lane lane, int n,
				 const pai_operand *in, pai_tensor *out, const pai_params *params);
/* The whole of a call: operands with numpy or legacy broadcasting, output 0 of the type of input
 * `like` (of bool where e->truth). */
pai_status pai_elementwise_call(pai_call *c, const pai_elementwise *e, int n, int like,
				const pai_params *params);
/* Sizes of the broadcast of all operands; fails naming the input that does not fit. */
pai_status pai_broadcast_dims(pai_call *c, int n, const pai_operand *in, int *rank, int64_t *dims);
/* The operands of a call as its operator version aligns them. */
void pai_call_operands(const pai_call *c, int n, pai_operand *out);

/* pai_kernel.run of one- and two-operand families; .data is the pai_elementwise. */
pai_status pai_unary_run(pai_call *c);
pai_status pai_binary_run(pai_call *c);
pai_status pai_ternary_run(pai_call *c);

/* In the expressions: a, b, c are the operands' elements, p0 .. p3 the params, T the lane's type.
 */
#define PAI_LOOP_HEAD(name, lane_type, params_field)                                   \
	static void name(int64_t n, void *out, const void *const *in, const bool *one, \
			 const pai_params *params)                                     \
	{                                                                              \
		typedef lane_type T;                                                   \
		const T p0 = params->params_field[0], p1 = params->params_field[1];    \
		(void)one, (void)p0, (void)p1;

#define PAI_LOOP1(name, lane_type, params_field, result, expr) \
	PAI_LOOP_HEAD(name, lane_type, params_field)           \
	result *y = out;                                       \
	const T *A = in[0];                                    \
	_Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++)   \
	{                                                      \
		const T a = A[i];                              \
		y[i] = (result)(expr);                         \
	}                                                      \
	}

#define PAI_LOOP2(name, lane_type, params_field, result, expr)       \
	PAI_LOOP_HEAD(name, lane_type, params_field)                 \
	result *y = out;                                             \
	const T *A = in[0], *B = in[1];                              \
	if (one[0] && n > 1) {                                       \
		const T a = *A;                                      \
		_Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) \
		{                                                    \
			const T b = B[one[1] ? 0 : i];               \
			(void)b;                                     \
			y[i] = (result)(expr);                       \
		}                                                    \
	} else if (one[1]) {                                         \
		const T b = *B;                                      \
		(void)b;                                             \
		_Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) \
		{                                                    \
			const T a = A[i];                            \
			y[i] = (result)(expr);                       \
		}                                                    \
	} else {                                                     \
		_Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) \
		{                                                    \
			const T a = A[i], b = B[i];                  \
			(void)a, (void)b;                            \
			y[i] = (result)(expr);                       \
		}                                                    \
	}                                                            \
	}

#define PAI_LOOP3(name, lane_type, params_field, result, expr)                \
	PAI_LOOP_HEAD(name, lane_type, params_field)                          \
	result *y = out;                                                      \
	const T *A = in[0], *B = in[1], *C = in[2];                           \
	if (!one[0] && !one[1] && !one[2]) {                                  \
		_Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++)          \
		{                                                             \
			const T a = A[i], b = B[i], c = C[i];                 \
			y[i] = (result)(expr);                                \
		}                                                             \
	} else {                                                              \
		_Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++)          \
		{                                                             \
			const T a = A[one[0] ? 0 : i], b = B[one[1] ? 0 : i], \
				c = C[one[2] ? 0 : i];                        \
			y[i] = (result)(expr);                                \
		}                                                             \
	}                                                                     \
	}

/* Both float lanes of one formula, and both integer lanes. */
#define PAI_FLOATS(LOOP, name, expr) \
	LOOP(name##_f32, float, f32, T, expr) LOOP(name##_f64, double, f64, T, expr)
#define PAI_INTS(LOOP, name, expr) \
	LOOP(name##_i64, int64_t, i64, T, expr) LOOP(name##_u64, uint64_t, u64, T, expr)

/* A whole kernel of float types from one formula: integer inputs are computed as double. */
#define PAI_FLOAT_KERNEL(operands, LOOP, name, expr, ...)                          \
	PAI_FLOATS(LOOP, name, expr)                                               \
	const pai_kernel pai_kernel_##name = {                                     \
		.run = pai_##operands##_run,                                       \
		.data = &(const pai_elementwise){.loop = {name##_f32, name##_f64}, \
						 .attrs = {__VA_ARGS__}}};

#endif
