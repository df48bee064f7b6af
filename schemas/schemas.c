/* schemas.c -- the tables of this folder as C data, and lookup in them. */
#include "schemas/schemas.h"
#include <stdlib.h>
#include <string.h>

static const pai_dtype_info dtypes[] = {
#define DTYPE(name, number, text, bits, kind) [number] = {#name, text, bits, PAI_KIND_##kind},
#include "schemas/dtypes.def"
#undef DTYPE
};

const pai_dtype_info *pai_dtype_get(int dtype)
{
	return &dtypes[dtype > 0 && dtype < PAI_DTYPE_COUNT ? dtype : 0];
}

pai_dtype pai_dtype_from_text(const char *text)
{
	for (int d = 1; d < PAI_DTYPE_COUNT; d++)
		if (strcmp(dtypes[d].text, text) == 0)
			return (pai_dtype)d;
	return PAI_UNDEFINED;
}

/* Names that TYPES cells use: every element type by its own name, and these groups. */
enum {
	NONE = 0,
#define DTYPE(name, number, text, bits, kind) name = (int)PAI_DTYPE_BIT(number),
#include "schemas/dtypes.def"
#undef DTYPE
	FLOATS = FLOAT16 | FLOAT | DOUBLE,
	SIGNED = INT8 | INT16 | INT32 | INT64,
	UNSIGNED = UINT8 | UINT16 | UINT32 | UINT64,
	COMPLEX = COMPLEX64 | COMPLEX128,
	FLOAT8 = FLOAT8E4M3FN | FLOAT8E4M3FNUZ | FLOAT8E5M2 | FLOAT8E5M2FNUZ,
	BITS4 = INT4 | UINT4,
	BITS2 = INT2 | UINT2,
	ALL = (int)((1u << PAI_DTYPE_COUNT) - 2u),
};

/* Names that the traits cell uses. */
enum {
	RANDOM = PAI_TRAIT_RANDOM,
	CONTROL = PAI_TRAIT_CONTROL,
	FOLDS = PAI_TRAIT_FOLDS,
	DEPRECATED = PAI_TRAIT_DEPRECATED,
	FUNCTION = PAI_TRAIT_FUNCTION,
};

/* Names that C cells use where several rows take the same words. */
static const char resize_modes[] = "nearest|linear|cubic";
static const char resize_coordinates[] = "half_pixel|half_pixel_symmetric|pytorch_half_pixel|"
					 "align_corners|asymmetric|tf_crop_and_resize|"
					 "tf_half_pixel_for_nn";
static const char resize_roundings[] = "round_prefer_floor|round_prefer_ceil|floor|ceil";

#define R(name, type) {#name, #type, PAI_REQUIRED, false},
#define O(name, type) {#name, #type, PAI_OPTIONAL, false},
#define V(name, type) {#name, #type, PAI_VARIADIC, false},
#define W(name, type) {#name, #type, PAI_VARIADIC, true},
#define A(name, type, def) {#name, PAI_ATTR_##type, def, NULL},
#define C(name, def, choices) {#name, PAI_ATTR_STRING, def, choices},
#define T(name, tensors, sequences, optionals) {#name, (tensors), (sequences), (optionals)},
#define IN(...)                                         \
	(const pai_op_arg[])                            \
	{                                               \
		__VA_ARGS__                             \
		{                                       \
			NULL, NULL, PAI_REQUIRED, false \
		}                                       \
	}
#define OUT(...) IN(__VA_ARGS__)
#define ATTR(...)                                            \
	(const pai_op_attr[])                                \
	{                                                    \
		__VA_ARGS__                                  \
		{                                            \
			NULL, PAI_ATTR_UNDEFINED, NULL, NULL \
		}                                            \
	}
#define TYPES(...)                    \
	(const pai_op_type[])         \
	{                             \
		__VA_ARGS__           \
		{                     \
			NULL, 0, 0, 0 \
		}                     \
	}
#define COUNT(...) (int)(sizeof(__VA_ARGS__) / sizeof(pai_op_arg) - 1)

static const pai_op rows[] = {
#define OP(name, since, traits, in, out, attr, types, ...) \
	{PAI_ROW_DOMAIN, #name, since, traits, in, out, attr, types, COUNT(in), COUNT(out)},
#include "schemas/all_ops.def"
#undef OP
};

int pai_op_id(const pai_op *op)
{
	return (int)(op - rows);
}

const pai_op *pai_op_row(int id)
{
	return &rows[id];
}

const char *pai_domain_plain(const char *domain)
{
	return !domain || strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

/* Rows of one file stand together: the half-open range of a domain. */
static void domain_range(const char *domain, int *from, int *to)
{
	int i = 0;
	while (i < PAI_OP_COUNT && strcmp(rows[i].domain, domain) != 0)
		i++;
	*from = i;
	while (i < PAI_OP_COUNT && strcmp(rows[i].domain, domain) == 0)
		i++;
	*to = i;
}

/* The table is sorted by domain, then name, then version. */
static bool is_before(const pai_op *row, const char *domain, const char *name)
{
	int order = strcmp(row->domain, domain);
	return order < 0 || (order == 0 && strcmp(row->name, name) < 0);
}

const pai_op *pai_op_find(const char *domain, const char *name, int64_t opset)
{
	int low = 0, high = PAI_OP_COUNT;
	domain = pai_domain_plain(domain);
	while (low < high) { /* first row not before the name */
		int mid = low + (high - low) / 2;
		if (is_before(&rows[mid], domain, name))
			low = mid + 1;
		else
			high = mid;
	}
	const pai_op *found = NULL;
	for (int i = low; i < PAI_OP_COUNT && rows[i].since <= opset; i++) {
		if (strcmp(rows[i].name, name) != 0 || strcmp(rows[i].domain, domain) != 0)
			break;
		found = &rows[i];
	}
	return found;
}

const pai_op *pai_op_latest(const char *domain, const char *name)
{
	return pai_op_find(domain, name, INT64_MAX);
}

/* Levenshtein distance, given up (returning limit) where it passes limit. */
static int edit_distance(const char *a, const char *b, int limit)
{
	int n = (int)strlen(b), row[64];
	if (n >= 64 || strlen(a) >= 64)
		return limit;
	for (int j = 0; j <= n; j++)
		row[j] = j;
	for (int i = 1; a[i - 1]; i++) {
		int diagonal = row[0];
		row[0] = i;
		for (int j = 1; j <= n; j++) {
			int best = diagonal + (a[i - 1] != b[j - 1]);
			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[n] < limit ? row[n] : limit;
}

const char *pai_nearest(const char *name, const char *(*next)(const void *payload, int i),
			const void *payload)
{
	const char *best = NULL, *candidate;
	int best_distance = 2 + (int)strlen(name) / 3;
	for (int i = 0; (candidate = next(payload, i)); i++) {
		int d = edit_distance(name, candidate, best_distance);
		if (d < best_distance) {
			best_distance = d;
			best = candidate;
		}
	}
	return best;
}

const void *pai_table_get(pai_table t, int i)
{
	if (!t.size)
		return ((const void *const *)t.rows)[i];
	const void *row = (const char *)t.rows + (size_t)i * t.size;
	return *(const char *const *)row ? row : NULL;
}

static const char *row_name(const void *payload, int i)
{
	const void *row = pai_table_get(*(const pai_table *)payload, i);
	return row ? *(const char *const *)row : NULL;
}

const void *pai_table_find(pai_table t, const char *name)
{
	const char *at;
	for (int i = 0; (at = row_name(&t, i)); i++)
		if (strcmp(at, name) == 0)
			return pai_table_get(t, i);
	return NULL;
}

const char *pai_table_nearest(pai_table t, const char *name)
{
	return pai_nearest(name, row_name, &t);
}

bool pai_list_has(const char *list, char separator, const char *word)
{
	const size_t n = strlen(word);
	for (const char *at = list; at && n; at = strchr(at, separator)) {
		at += *at == separator;
		if (strncmp(at, word, n) == 0 && (at[n] == separator || !at[n]))
			return !strchr(word, separator);
	}
	return false;
}

static const char *name_in_domain(const void *payload, int i)
{
	const int *range = payload;
	return range[0] + i < range[1] ? rows[range[0] + i].name : NULL;
}

const char *pai_op_nearest(const char *domain, const char *name)
{
	int range[2];
	domain_range(pai_domain_plain(domain), &range[0], &range[1]);
	return pai_nearest(name, name_in_domain, range);
}

const pai_op_attr *pai_op_attr_find(const pai_op *op, const char *name)
{
	return pai_table_find(PAI_TABLE(op->attrs), name);
}
