/* tensor.c -- contents of tensors: sizes, element access, and number formats.
 *
 * Every size that comes from a file goes through pai_tensor_nbytes. Elements are read and written
 * bytewise, since contents that lie in a mapped file may have any alignment. All small formats are
 * rows of one table; rounding is to nearest, ties to even, in exact integer arithmetic.
 */
#include "compiler/compiler.h"
#include <math.h>
#include <string.h>

int64_t pai_tensor_nelem(const pai_tensor *t)
{
	int64_t n = 1;
	for (int i = 0; i < t->rank; i++)
		n *= t->dims[i];
	return n;
}

static const size_t MOST = (size_t)1 << 47; /* elements: no address space holds more */

bool pai_tensor_nbytes(pai_dtype dtype, int rank, const int64_t *dims, size_t *out)
{
	const pai_dtype_info *info = pai_dtype_get((int)dtype);
	size_t n = 1, bits = dtype == PAI_STRING ? 8 * sizeof(pai_str) : (size_t)info->bits;
	bool empty = false;
	for (int i = 0; i < rank; i++) {
		if (dims[i] < 0)
			return false;
		empty |= dims[i] == 0;
		if (dims[i] && (!pai_size_mul(n, (size_t)dims[i], &n) || n > MOST))
			return false;
	}
	if (empty)
		n = 0;
	if (bits < 8) {
		size_t per_byte = bits ? 8 / bits : 1;
		*out = n / per_byte + (n % per_byte != 0);
		return bits != 0;
	}
	return pai_size_mul(n, bits / 8, out) && *out <= INT64_MAX;
}

pai_tensor *pai_tensor_new(pai_arena *a, pai_dtype dtype, int rank, const int64_t *dims)
{
	size_t nbytes;
	if (!pai_tensor_nbytes(dtype, rank, dims, &nbytes))
		return NULL;
	void *data = nbytes ? pai_arena_bulk(a, nbytes) : NULL;
	if (nbytes && !data)
		return NULL;
	pai_tensor *t = PAI_NEW(a, pai_tensor);
	*t = (pai_tensor){.dtype = dtype, .rank = rank, .data = data, .nbytes = nbytes};
	t->dims = pai_arena_dup(a, dims, sizeof *dims * (size_t)rank);
	return t;
}

pai_tensor *pai_tensor_from_ints(pai_arena *a, int64_t n, const int64_t *v)
{
	pai_tensor *t = PAI_NEW(a, pai_tensor);
	*t = (pai_tensor){.dtype = PAI_INT64, .rank = 1, .nbytes = sizeof *v * (size_t)n};
	t->dims = pai_arena_dup(a, &n, sizeof n);
	t->data = n ? pai_arena_dup(a, v, t->nbytes) : NULL;
	return t;
}

pai_tensor *pai_tensor_from_float(pai_arena *a, float v)
{
	pai_tensor *t = PAI_NEW(a, pai_tensor);
	*t = (pai_tensor){.dtype = PAI_FLOAT, .nbytes = sizeof v};
	t->data = pai_arena_dup(a, &v, sizeof v);
	return t;
}

/* Bits of the last byte that hold no element may differ. */
static bool equal_packed(const pai_tensor *a, const pai_tensor *b, int bits)
{
	size_t used = (size_t)pai_tensor_nelem(a) * (size_t)bits % 8;
	size_t whole = a->nbytes - (used != 0);
	const uint8_t *p = a->data, *q = b->data;
	return memcmp(p, q, whole) == 0 &&
	       (!used || ((p[whole] ^ q[whole]) << (8 - used) & 0xff) == 0);
}

static bool equal_strings(const pai_tensor *a, const pai_tensor *b)
{
	const pai_str *p = a->data, *q = b->data;
	for (int64_t i = 0, n = pai_tensor_nelem(a); i < n; i++)
		if (p[i].n != q[i].n || (p[i].n && memcmp(p[i].at, q[i].at, p[i].n) != 0))
			return false;
	return true;
}

const char *pai_tensor_text(pai_arena *a, const pai_tensor *t)
{
	const char *s = pai_dtype_get((int)t->dtype)->text;
	for (int i = 0; i < t->rank; i++)
		s = pai_arena_printf(a, "%s%s%lld", s, i ? "," : "[", (long long)t->dims[i]);
	return t->rank ? pai_arena_printf(a, "%s]", s) : s;
}

bool pai_same_shape(const pai_tensor *a, const pai_tensor *b)
{
	bool same = a->rank == b->rank;
	for (int i = 0; same && i < a->rank; i++)
		same = a->dims[i] == b->dims[i];
	return same;
}

bool pai_tensor_equal(const pai_tensor *a, const pai_tensor *b)
{
	if (a->dtype != b->dtype || !pai_same_shape(a, b) || a->nbytes != b->nbytes)
		return false;
	if (a->nbytes == 0 || a->data == b->data)
		return true;
	if (!a->data || !b->data)
		return false;
	if (a->dtype == PAI_STRING)
		return equal_strings(a, b);
	int bits = pai_dtype_get((int)a->dtype)->bits;
	return bits < 8 ? equal_packed(a, b, bits) : memcmp(a->data, b->data, a->nbytes) == 0;
}

static uint32_t float_bits(float f)
{
	uint32_t u;
	memcpy(&u, &f, sizeof u);
	return u;
}

static float bits_float(uint32_t u)
{
	float f;
	memcpy(&f, &u, sizeof f);
	return f;
}

/* A float format of at most 16 bits. What lies above the greatest finite number is an infinity,
 * or a NaN where the format has none. */
typedef struct format {
	int exponent, mantissa, bias; /* widths in bits; bias */
	bool infinity;                /* all exponent bits set: infinity and NaN, as in IEEE 754 */
	bool no_negative_zero;        /* its code is the only NaN ("UZ") */
	bool nan;                     /* has one at all */
	bool sign;
} format;

static const format formats[PAI_DTYPE_COUNT] = {
	[PAI_FLOAT16] = {5, 10, 15, true, false, true, true},
	[PAI_BFLOAT16] = {8, 7, 127, true, false, true, true},
	[PAI_FLOAT8E4M3FN] = {4, 3, 7, false, false, true, true},
	[PAI_FLOAT8E4M3FNUZ] = {4, 3, 8, false, true, true, true},
	[PAI_FLOAT8E5M2] = {5, 2, 15, true, false, true, true},
	[PAI_FLOAT8E5M2FNUZ] = {5, 2, 16, false, true, true, true},
	[PAI_FLOAT4E2M1] = {2, 1, 1, false, false, false, true},
};

static uint32_t sign_bit(const format *f)
{
	return 1u << (f->exponent + f->mantissa);
}

/* Code of NaN and of the greatest finite number, without sign. */
static uint32_t nan_code(const format *f)
{
	if (f->no_negative_zero)
		return sign_bit(f);
	return f->infinity ? sign_bit(f) - 1 - ((1u << f->mantissa) - 1) + (1u << (f->mantissa - 1))
			   : sign_bit(f) - 1;
}

static uint32_t greatest_code(const format *f)
{
	if (f->infinity)
		return sign_bit(f) - 1 - (1u << f->mantissa);
	return f->no_negative_zero || !f->nan ? sign_bit(f) - 1 : sign_bit(f) - 2;
}

static float decode(const format *f, uint32_t code)
{
	uint32_t sign = code & sign_bit(f), rest = code & (sign_bit(f) - 1);
	int exponent = (int)(rest >> f->mantissa);
	int mantissa = (int)(rest & ((1u << f->mantissa) - 1));
	bool top = exponent == (1 << f->exponent) - 1;
	if (f->no_negative_zero ? code == sign_bit(f)
				: f->nan && !f->infinity && rest == nan_code(f))
		return NAN;
	if (f->infinity && top)
		return mantissa ? bits_float((sign ? 0xff800000u : 0x7f800000u) |
					     (uint32_t)mantissa << (23 - f->mantissa))
		       : sign   ? -INFINITY
				: INFINITY;
	float v = exponent ? ldexpf((float)(mantissa | 1 << f->mantissa),
				    exponent - f->bias - f->mantissa)
			   : ldexpf((float)mantissa, 1 - f->bias - f->mantissa);
	return sign ? -v : v;
}

/* |x| as a code, rounded to nearest even in double arithmetic; may pass greatest_code. A float has
 * 24 bits and a format at most 11, so that scaling to units of its last place is exact. */
static uint32_t round_to(const format *f, double x)
{
	int e;
	if (x == 0)
		return 0;
	frexp(x, &e); /* x = m * 2^e, 0.5 <= m < 1 */
	e -= 1;
	int lowest = 1 - f->bias;
	if (e < lowest)
		e = lowest;
	double units = nearbyint(ldexp(x, f->mantissa - e)); /* in units of the last place */
	uint64_t code = (uint64_t)units + ((uint64_t)(e - lowest) << f->mantissa);
	return code < UINT32_MAX ? (uint32_t)code : UINT32_MAX;
}

static uint32_t encode(const format *f, double x, bool saturate)
{
	uint32_t sign = signbit(x) ? sign_bit(f) : 0;
	if (isnan(x))
		return f->nan ? (f->no_negative_zero ? nan_code(f) : sign | nan_code(f))
			      : sign_bit(f); /* -0, as ONNX's tests have it */
	uint32_t code = isinf(x) ? UINT32_MAX : round_to(f, fabs(x));
	if (code > greatest_code(f)) {
		if (saturate || !f->nan)
			code = greatest_code(f);
		else if (f->infinity)
			code = greatest_code(f) + 1;
		else
			return f->no_negative_zero ? nan_code(f) : sign | nan_code(f);
	}
	return code == 0 && f->no_negative_zero ? 0 : sign | code;
}

float pai_half_to_float(uint16_t h)
{
	uint32_t exponent = h >> 10 & 31;
	if (exponent == 0 || exponent == 31)
		return decode(&formats[PAI_FLOAT16], h);
	return bits_float((uint32_t)(h & 0x8000) << 16 | (exponent + 112) << 23 |
			  (uint32_t)(h & 0x3ff) << 13);
}

/* Keeps a NaN a NaN: its payload may lie in bits that are cut off. */
static uint16_t narrow_nan(uint32_t u, uint32_t top, int shift)
{
	return (uint16_t)(u >> 16 & 0x8000) | (uint16_t)(top | (u & 0x7fffff) >> shift);
}

uint16_t pai_float_to_half(float f)
{
	uint32_t u = float_bits(f), magnitude = u & 0x7fffffff;
	if (magnitude > 0x7f800000)
		return narrow_nan(u, 0x7e00, 13);
	if (magnitude < 0x38800000 || magnitude >= 0x47800000) /* subnormal; too large */
		return (uint16_t)encode(&formats[PAI_FLOAT16], f, false);
	uint32_t r = magnitude - 0x38000000;
	r += 0xfff + (r >> 13 & 1); /* a carry out of the mantissa is right as it is */
	return (uint16_t)((u >> 16 & 0x8000) | r >> 13);
}

float pai_bfloat_to_float(uint16_t h)
{
	return bits_float((uint32_t)h << 16);
}

uint16_t pai_float_to_bfloat(float f)
{
	uint32_t u = float_bits(f);
	if ((u & 0x7fffffff) > 0x7f800000)
		return narrow_nan(u, 0x7fc0, 16);
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* FLOAT8E8M0 is a power of two, 2^(code - 127); 255 is NaN. */
static uint8_t encode_power(double x, bool saturate)
{
	if (isnan(x) || x < 0)
		return 255;
	if (isinf(x))
		return saturate ? 254 : 255;
	if (x == 0)
		return 0;
	int e;
	double m = frexp(x, &e); /* x = m * 2^e, 0.5 <= m < 1: the nearest power, halves upwards */
	int code = e - 1 + 127 + (m >= 0.75);
	if (code > 254)
		return saturate ? 254 : 255;
	return (uint8_t)(code < 0 ? 0 : code);
}

float pai_small_to_float(pai_dtype dtype, uint8_t bits)
{
	if (dtype == PAI_FLOAT8E8M0)
		return bits == 255 ? NAN : ldexpf(1, bits - 127);
	return decode(&formats[dtype], dtype == PAI_FLOAT4E2M1 ? bits & 15u : bits);
}

uint8_t pai_float_to_small(pai_dtype dtype, float f, bool saturate)
{
	if (dtype == PAI_FLOAT8E8M0)
		return encode_power(f, saturate);
	return (uint8_t)encode(&formats[dtype], f, saturate);
}

/* Bits of element i, in the low end. Types of at most 64 bits. */
static uint64_t get_bits(const pai_tensor *t, int64_t i, int bits)
{
	if (bits < 8)
		return pai_packed_get(t->data, bits, i);
	uint64_t u = 0;
	memcpy(&u, (const uint8_t *)t->data + (size_t)i * (size_t)(bits / 8), (size_t)bits / 8);
	return u;
}

static void set_bits(pai_tensor *t, int64_t i, int bits, uint64_t u)
{
	if (bits < 8)
		pai_packed_set(t->data, bits, i, (unsigned)u);
	else
		memcpy((uint8_t *)t->data + (size_t)i * (size_t)(bits / 8), &u, (size_t)bits / 8);
}

static int64_t sign_extend(uint64_t u, int bits)
{
	return (int64_t)(u << (64 - bits)) >> (64 - bits);
}

static double get_float(pai_dtype dtype, uint64_t u)
{
	double d;
	switch ((int)dtype) {
	case PAI_DOUBLE:
		memcpy(&d, &u, sizeof d);
		return d;
	case PAI_FLOAT:
		return bits_float((uint32_t)u);
	case PAI_FLOAT16:
		return pai_half_to_float((uint16_t)u);
	case PAI_BFLOAT16:
		return pai_bfloat_to_float((uint16_t)u);
	default:
		return pai_small_to_float(dtype, (uint8_t)u);
	}
}

double pai_tensor_get(const pai_tensor *t, int64_t i)
{
	const pai_dtype_info *info = pai_dtype_get((int)t->dtype);
	uint64_t u = get_bits(t, i, info->bits);
	if (info->kind == PAI_KIND_FLOAT)
		return get_float(t->dtype, u);
	return info->kind == PAI_KIND_SIGNED ? (double)sign_extend(u, info->bits) : (double)u;
}

/* Towards zero, within the range; NaN gives 0. */
static int64_t to_int(double v)
{
	if (isnan(v))
		return 0;
	if (v >= 9223372036854775808.0)
		return INT64_MAX;
	return v <= -9223372036854775808.0 ? INT64_MIN : (int64_t)v;
}

int64_t pai_tensor_get_int(const pai_tensor *t, int64_t i)
{
	const pai_dtype_info *info = pai_dtype_get((int)t->dtype);
	uint64_t u = get_bits(t, i, info->bits);
	if (info->kind == PAI_KIND_FLOAT)
		return to_int(get_float(t->dtype, u));
	return info->kind == PAI_KIND_SIGNED ? sign_extend(u, info->bits) : (int64_t)u;
}

/* Nearest integer of the type, ties to even, saturated; NaN gives 0. */
static uint64_t int_bits(const pai_dtype_info *info, double v)
{
	v = isnan(v) ? 0 : nearbyint(v);
	bool is_signed = info->kind == PAI_KIND_SIGNED;
	int width = info->bits - is_signed;
	double top = ldexp(1, width); /* one past the greatest */
	if (v >= top)
		return width == 64 ? UINT64_MAX : ((uint64_t)1 << width) - 1;
	if (v < (is_signed ? -top : 0))
		v = is_signed ? -top : 0;
	return is_signed ? (uint64_t)(int64_t)v : (uint64_t)v;
}

static uint64_t float_code(pai_dtype dtype, double v)
{
	uint64_t u = 0;
	float f = (float)v;
	switch ((int)dtype) {
	case PAI_DOUBLE:
		memcpy(&u, &v, sizeof v);
		return u;
	case PAI_FLOAT:
		return float_bits(f);
	case PAI_FLOAT8E8M0:
		return encode_power(v, true);
	case PAI_FLOAT16:
	case PAI_BFLOAT16: /* from the double at once: rounding twice can be off by one */
		return isnan(v) ? (uint64_t)(signbit(v) ? 0x8000 : 0) | nan_code(&formats[dtype])
				: encode(&formats[dtype], v, false);
	default:
		return encode(&formats[dtype], v, true);
	}
}

void pai_tensor_set(pai_tensor *t, int64_t i, double v)
{
	const pai_dtype_info *info = pai_dtype_get((int)t->dtype);
	uint64_t u;
	if (info->kind == PAI_KIND_FLOAT)
		u = float_code(t->dtype, v);
	else if (info->kind == PAI_KIND_BOOL)
		u = v != 0;
	else
		u = int_bits(info, v);
	set_bits(t, i, info->bits, u);
}
