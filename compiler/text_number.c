/* text_number.c -- floating-point numbers as the shortest text that reads back to the same bits.
 *
 * The number of digits is found by trying: one digit less, does it still read back? For float32
 * the trial is done in double arithmetic, where up to nine digits and powers of ten up to 22 are
 * exact; a quotient so close to the middle of two floats that rounding twice could matter goes
 * the slow way through the C library. Layout is that of C++ std::to_chars, which ONNX's own printer
 * uses: the shorter of 123.4 and 1.234e+02, the first on a tie. An infinity is inf; a NaN is nan
 * with its sign, and with its bits in an annotation when they are not the usual ones; -0 is -0.0,
 * since some readers take -0 for an integer.
 */
#include "compiler/text.h"
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

text_locale text_locale_begin(void)
{
	locale_t own = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	return (text_locale){own, own ? uselocale(own) : NULL};
}

void text_locale_end(text_locale l)
{
	if (!l.own)
		return;
	uselocale((locale_t)l.before);
	freelocale((locale_t)l.own);
}

typedef struct decimal { /* d1.d2d3... * 10^exponent */
	char digits[20];
	int n, exponent;
	bool negative;
} decimal;

static const double power10[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
				 1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
				 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* v as `n` digits through the C library. */
static void decimal_print(decimal *d, double v, int n)
{
	char buf[40];
	snprintf(buf, sizeof buf, "%.*e", n - 1, fabs(v));
	d->digits[0] = buf[0];
	memcpy(d->digits + 1, buf + 2, (size_t)(n - 1));
	d->n = n;
	d->exponent = atoi(strchr(buf, 'e') + 1);
	d->negative = signbit(v);
}

static void trim(decimal *d)
{
	while (d->n > 1 && d->digits[d->n - 1] == '0')
		d->n--;
}

/* v > 0 as `n` digits, v = *r * 10^-*k, where that can be told apart safely in doubles. */
static bool try_digits(float v, int exponent, int n, int64_t *r)
{
	int k = n - 1 - exponent;
	double scaled = k >= 0 ? (double)v * power10[k] : (double)v / power10[-k];
	*r = (int64_t)nearbyint(scaled);
	double back = k >= 0 ? (double)*r / power10[k] : (double)*r * power10[-k];
	return (float)back == v;
}

/* Is double `d` within a few of its own units of the middle of two floats? */
static bool near_middle(double d)
{
	uint64_t bits;
	memcpy(&bits, &d, sizeof bits);
	int64_t low = (int64_t)(bits & 0x1fffffff) - 0x10000000;
	return low > -8 && low < 8;
}

static bool shortest_fast(float v, decimal *d)
{
	float a = fabsf(v);
	if (a < 1e-10f || a >= 1e12f)
		return false;
	int exponent = (int)floor(log10((double)a));
	int64_t best = 0, r;
	int n = 9;
	if (!try_digits(a, exponent, n, &best))
		return false;
	while (n > 1 && try_digits(a, exponent, n - 1, &r)) {
		best = r;
		n--;
	}
	int k = n - 1 - exponent;
	double back = k >= 0 ? (double)best / power10[k] : (double)best * power10[-k];
	if (near_middle(back))
		return false;
	char buf[24];
	int len = snprintf(buf, sizeof buf, "%lld", (long long)best);
	if (len < 1 || len > (int)sizeof d->digits)
		return false;
	memcpy(d->digits, buf, (size_t)len);
	d->n = len;
	d->exponent = len - 1 - k;
	d->negative = signbit(v);
	trim(d);
	return true;
}

static void shortest_float(float v, decimal *d)
{
	if (shortest_fast(v, d))
		return;
	for (int n = 1; n <= 9; n++) {
		char buf[40];
		snprintf(buf, sizeof buf, "%.*e", n - 1, (double)v);
		if (n == 9 || strtof(buf, NULL) == v) {
			decimal_print(d, (double)v, n);
			trim(d);
			return;
		}
	}
}

static void shortest_double(double v, decimal *d)
{
	int least =
		fpclassify(v) == FP_SUBNORMAL ? 1 : 15; /* 15 digits always survive, bar these */
	for (int n = least; n <= 17; n++) {
		char buf[40];
		snprintf(buf, sizeof buf, "%.*e", n - 1, v);
		if (n == 17 || strtod(buf, NULL) == v) {
			decimal_print(d, v, n);
			trim(d);
			return;
		}
	}
}

static int layout(char *to, const decimal *d)
{
	int e = d->exponent, n = d->n;
	int fixed = e < 0 ? 1 - e + n : e + 1 >= n ? e + 1 : n + 1;
	int scientific = (n > 1 ? n + 1 : 1) + (e > -100 && e < 100 ? 4 : 5);
	char *p = to;
	if (d->negative)
		*p++ = '-';
	if (scientific < fixed) {
		*p++ = d->digits[0];
		if (n > 1) {
			*p++ = '.';
			memcpy(p, d->digits + 1, (size_t)(n - 1));
			p += n - 1;
		}
		p += sprintf(p, "e%c%02d", e < 0 ? '-' : '+', abs(e));
		return (int)(p - to);
	}
	if (e < 0) {
		*p++ = '0';
		*p++ = '.';
		for (int i = -1; i > e; i--)
			*p++ = '0';
	}
	for (int i = 0; i < n || i <= e; i++) {
		*p++ = i < n ? d->digits[i] : '0';
		if (i == e && i + 1 < n)
			*p++ = '.';
	}
	return (int)(p - to);
}

/* What is no finite number other than 0; false: it is one. */
static bool special(char *to, double v, uint64_t bits, uint64_t usual_nan, int *n)
{
	if (v == 0)
		*n = sprintf(to, "%s", signbit(v) ? "-0.0" : "0");
	else if (isinf(v))
		*n = sprintf(to, "%s", v < 0 ? "-inf" : "inf");
	else if (isnan(v) && bits == usual_nan)
		*n = sprintf(to, "%s", signbit(v) ? "-nan" : "nan");
	else if (isnan(v))
		*n = sprintf(to, "nan #@ bits 0x%llx\n", (unsigned long long)bits);
	else
		return false;
	return true;
}

int text_from_float(char *to, float v)
{
	decimal d = {.n = 0};
	uint32_t bits;
	int n;
	memcpy(&bits, &v, sizeof bits);
	if (special(to, (double)v, bits, (bits & 0x80000000u) | 0x7fc00000u, &n))
		return n;
	shortest_float(v, &d);
	return layout(to, &d);
}

int text_from_double(char *to, double v)
{
	decimal d = {.n = 0};
	uint64_t bits;
	int n;
	memcpy(&bits, &v, sizeof bits);
	if (special(to, v, bits, (bits & ((uint64_t)1 << 63)) | 0x7ff8000000000000u, &n))
		return n;
	shortest_double(v, &d);
	return layout(to, &d);
}
