/* lanes.c -- conversion between the element types of ONNX and the four that kernels compute in. */
#include "runtime/kernels/lanes.h"
#include <math.h>
#include <string.h>

pai_lane pai_lane_of(pai_dtype dtype)
{
	static const pai_lane by_kind[] = {
		[PAI_KIND_NONE] = PAI_LANE_NONE,   [PAI_KIND_FLOAT] = PAI_LANE_F32,
		[PAI_KIND_SIGNED] = PAI_LANE_I64,  [PAI_KIND_UNSIGNED] = PAI_LANE_U64,
		[PAI_KIND_BOOL] = PAI_LANE_U64,    [PAI_KIND_COMPLEX] = PAI_LANE_NONE,
		[PAI_KIND_STRING] = PAI_LANE_NONE,
	};
	return dtype == PAI_DOUBLE ? PAI_LANE_F64 : by_kind[pai_dtype_get(dtype)->kind];
}

size_t pai_lane_size(pai_lane lane)
{
	return lane == PAI_LANE_F32 ? sizeof(float) : sizeof(double);
}

bool pai_lane_direct(pai_lane lane, pai_dtype dtype)
{
	static const pai_dtype own[PAI_LANES] = {
		[PAI_LANE_F32] = PAI_FLOAT,
		[PAI_LANE_F64] = PAI_DOUBLE,
		[PAI_LANE_I64] = PAI_INT64,
		[PAI_LANE_U64] = PAI_UINT64,
	};
	return own[lane] == dtype;
}

/* The double's neighbour in float whose further rounding to a shorter float is the correct one. */
static float round_to_odd(double v)
{
	float f = (float)v;
	if ((double)f == v || !isfinite(v))
		return f;
	uint32_t bits;
	if (isinf(f)) /* beyond every shorter float too */
		return f;
	memcpy(&bits, &f, sizeof bits);
	if (fabs((double)f) > fabs(v))
		bits--;
	bits |= 1;
	memcpy(&f, &bits, sizeof bits);
	return f;
}

static bool is_float(pai_dtype dtype)
{
	return pai_dtype_get(dtype)->kind == PAI_KIND_FLOAT;
}

static float short_float(pai_dtype dtype, const void *from, int64_t i)
{
	if (dtype == PAI_FLOAT16)
		return pai_half_to_float(((const uint16_t *)from)[i]);
	if (dtype == PAI_BFLOAT16)
		return pai_bfloat_to_float(((const uint16_t *)from)[i]);
	if (dtype == PAI_FLOAT4E2M1)
		return pai_small_to_float(dtype, (uint8_t)pai_packed_get(from, 4, i));
	return pai_small_to_float(dtype, ((const uint8_t *)from)[i]);
}

static void put_short_float(pai_dtype dtype, void *to, int64_t i, float v)
{
	if (dtype == PAI_FLOAT16)
		((uint16_t *)to)[i] = pai_float_to_half(v);
	else if (dtype == PAI_BFLOAT16)
		((uint16_t *)to)[i] = pai_float_to_bfloat(v);
	else if (dtype == PAI_FLOAT4E2M1)
		pai_packed_set(to, 4, i, pai_float_to_small(dtype, v, true));
	else
		((uint8_t *)to)[i] = pai_float_to_small(dtype, v, true);
}

/* Only the packed integers come here; the others are cases of their own. */
static int64_t short_int(pai_dtype dtype, const void *from, int64_t i)
{
	const pai_dtype_info *d = pai_dtype_get(dtype);
	int64_t v = pai_packed_get(from, d->bits, i);
	return d->kind == PAI_KIND_SIGNED && v >> (d->bits - 1) ? v - (1 << d->bits) : v;
}

static void put_short_int(pai_dtype dtype, void *to, int64_t i, uint64_t v)
{
	pai_packed_set(to, pai_dtype_get(dtype)->bits, i, (unsigned)v);
}

static int64_t saturate_signed(double v, int bits)
{
	const double limit = (double)(1ull << (bits - 1));
	if (isnan(v))
		return 0;
	if (v >= limit)
		return (int64_t)(UINT64_MAX >> (65 - bits));
	return v < -limit ? -(int64_t)(UINT64_MAX >> (65 - bits)) - 1 : (int64_t)v;
}

static uint64_t saturate_unsigned(double v, int bits)
{
	if (!(v > 0))
		return 0;
	return v >= 2 * (double)(1ull << (bits - 1)) ? UINT64_MAX >> (64 - bits) : (uint64_t)v;
}

#define KEEP(v, bits) ((void)(bits), (v))

#define LANE float
#define NAME(x) x##_f32
#define FROM_FLOAT(v) (float)(v)
#define TO_FLOAT(v) (v)
#define TO_SIGNED(v, bits) saturate_signed(v, bits)
#define TO_UNSIGNED(v, bits) saturate_unsigned(v, bits)
#include "runtime/kernels/lane.inc"

#define LANE double
#define NAME(x) x##_f64
#define FROM_FLOAT(v) (double)(v)
#define TO_FLOAT(v) round_to_odd(v)
#define TO_SIGNED(v, bits) saturate_signed(v, bits)
#define TO_UNSIGNED(v, bits) saturate_unsigned(v, bits)
#include "runtime/kernels/lane.inc"

#define LANE int64_t
#define NAME(x) x##_i64
#define FROM_FLOAT(v) saturate_signed((double)(v), 64)
#define TO_FLOAT(v) round_to_odd((double)(v))
#define TO_SIGNED(v, bits) KEEP(v, bits)
#define TO_UNSIGNED(v, bits) KEEP(v, bits)
#include "runtime/kernels/lane.inc"

#define LANE uint64_t
#define NAME(x) x##_u64
#define FROM_FLOAT(v) saturate_unsigned((double)(v), 64)
#define TO_FLOAT(v) round_to_odd((double)(v))
#define TO_SIGNED(v, bits) KEEP(v, bits)
#define TO_UNSIGNED(v, bits) KEEP(v, bits)
#include "runtime/kernels/lane.inc"

void pai_lane_load(pai_lane lane, void *to, pai_dtype dtype, const void *from, int64_t first,
		   int64_t n)
{
	switch (lane) {
	case PAI_LANE_F32:
		load_f32(to, dtype, from, first, n);
		break;
	case PAI_LANE_F64:
		load_f64(to, dtype, from, first, n);
		break;
	case PAI_LANE_I64:
		load_i64(to, dtype, from, first, n);
		break;
	case PAI_LANE_U64:
		load_u64(to, dtype, from, first, n);
		break;
	case PAI_LANE_NONE:
		break;
	}
}

void pai_lane_store(pai_lane lane, const void *from, pai_dtype dtype, void *to, int64_t first,
		    int64_t n)
{
	switch (lane) {
	case PAI_LANE_F32:
		store_f32(from, dtype, to, first, n);
		break;
	case PAI_LANE_F64:
		store_f64(from, dtype, to, first, n);
		break;
	case PAI_LANE_I64:
		store_i64(from, dtype, to, first, n);
		break;
	case PAI_LANE_U64:
		store_u64(from, dtype, to, first, n);
		break;
	case PAI_LANE_NONE:
		break;
	}
}

const void *pai_lane_view(pai_call *c, pai_lane lane, const pai_tensor *t)
{
	if (pai_lane_direct(lane, t->dtype) && t->data)
		return t->data;
	int64_t n = pai_tensor_nelem(t);
	void *copy = pai_call_scratch(c, (size_t)n * pai_lane_size(lane));
	if (copy)
		pai_lane_load(lane, copy, t->dtype, t->data, 0, n);
	return copy;
}

void *pai_lane_begin(pai_call *c, pai_lane lane, const pai_tensor *out)
{
	if (pai_lane_direct(lane, out->dtype) && out->data)
		return out->data;
	return pai_call_scratch(c, (size_t)pai_tensor_nelem(out) * pai_lane_size(lane));
}

void pai_lane_finish(pai_lane lane, const void *from, pai_tensor *out)
{
	if (from != out->data)
		pai_lane_store(lane, from, out->dtype, out->data, 0, pai_tensor_nelem(out));
}
