/* schemas.h -- what exists: data types, operators and their versions. Data only.
 *
 * Everything in this folder is a table. dtypes.def lists the element types of ONNX; ops.def (domain
 * ai.onnx), transforms.def (domain pai) and internal.def (domain pai.internal: what gradients and
 * fusion need) list operators, one row per (name, since_version). A row also names the behaviour of
 * the operator in the layers above (shape rule, kernel, gradient, fast builder); this layer does
 * not expand those cells, it only numbers the rows. Each layer expands its own cell of the same row
 * into an array indexed by pai_op_id, so nothing is ever listed twice.
 */
#ifndef PAI_SCHEMAS_H
#define PAI_SCHEMAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define PAI_API __attribute__((visibility("default")))
#else
#define PAI_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* dtypes.def */

typedef enum pai_dtype { /* numbers are TensorProto.DataType */
#define DTYPE(name, number, text, bits, kind) PAI_##name = number,
#include "schemas/dtypes.def"
#undef DTYPE
			 PAI_DTYPE_COUNT
} pai_dtype;

typedef enum pai_dtype_kind { /* what arithmetic an element takes part in */
			      PAI_KIND_NONE,
			      PAI_KIND_FLOAT,
			      PAI_KIND_SIGNED,
			      PAI_KIND_UNSIGNED,
			      PAI_KIND_BOOL,
			      PAI_KIND_COMPLEX,
			      PAI_KIND_STRING,
} pai_dtype_kind;

typedef struct pai_dtype_info {
	const char *name; /* as TensorProto.DataType spells it: "FLOAT" */
	const char *text; /* as ONNX's textual syntax spells it: "float" */
	int bits; /* per element in raw_data; 2 and 4 are packed, low bits first; 0: string */
	pai_dtype_kind kind; /* NONE for UNDEFINED */
} pai_dtype_info;

/* Never fails: a number out of range gives the row of UNDEFINED. */
PAI_API const pai_dtype_info *pai_dtype_get(int dtype);
/* PAI_UNDEFINED when no type has that textual name. */
PAI_API pai_dtype pai_dtype_from_text(const char *text);

/* Sets of data types as bit masks: 1 << dtype. */
typedef uint32_t pai_dtype_set;
#define PAI_DTYPE_BIT(d) (1u << (d))

/* ops.def, transforms.def, internal.def */

typedef enum pai_arity { PAI_REQUIRED, PAI_OPTIONAL, PAI_VARIADIC } pai_arity;

typedef struct pai_op_arg {
	const char *name;
	const char
		*type; /* a type variable of the row ("T"), or a textual type ("tensor(int64)") */
	pai_arity arity;
	bool heterogeneous; /* variadic only: each may have its own type (If, Loop, Scan) */
} pai_op_arg;

typedef enum pai_attr_type { /* numbers are AttributeProto.AttributeType */
			     PAI_ATTR_UNDEFINED = 0,
			     PAI_ATTR_FLOAT = 1,
			     PAI_ATTR_INT = 2,
			     PAI_ATTR_STRING = 3,
			     PAI_ATTR_TENSOR = 4,
			     PAI_ATTR_GRAPH = 5,
			     PAI_ATTR_FLOATS = 6,
			     PAI_ATTR_INTS = 7,
			     PAI_ATTR_STRINGS = 8,
			     PAI_ATTR_TENSORS = 9,
			     PAI_ATTR_GRAPHS = 10,
			     PAI_ATTR_SPARSE_TENSOR = 11,
			     PAI_ATTR_SPARSE_TENSORS = 12,
			     PAI_ATTR_TYPE_PROTO = 13,
			     PAI_ATTR_TYPE_PROTOS = 14,
} pai_attr_type;

typedef struct pai_op_attr {
	const char *name;
	pai_attr_type type;
	const char *def; /* default in textual syntax; NULL: none; "!": the attribute is required */
	const char *choices; /* of a string: "a|b|c"; NULL: any */
} pai_op_attr;

typedef struct pai_op_type {
	const char *name;        /* the type variable */
	pai_dtype_set tensors;   /* element types allowed in a tensor */
	pai_dtype_set sequences; /* ... in a sequence of tensors */
	pai_dtype_set optionals; /* ... in an optional tensor or an optional sequence */
} pai_op_type;

enum pai_op_trait {
	PAI_TRAIT_RANDOM = 1,     /* two runs differ: never folded or merged */
	PAI_TRAIT_CONTROL = 2,    /* has subgraphs that the executor runs */
	PAI_TRAIT_FOLDS = 4,      /* a transform: folds into the weight it is applied to */
	PAI_TRAIT_DEPRECATED = 8, /* removed from the standard at this version */
	PAI_TRAIT_FUNCTION = 16,  /* the standard gives a body in other operators */
};

typedef struct pai_op {     /* one row */
	const char *domain; /* "" is ai.onnx */
	const char *name;
	int since;                /* first opset version of the domain with this row */
	unsigned traits;          /* pai_op_trait */
	const pai_op_arg *in;     /* ended by a NULL name */
	const pai_op_arg *out;    /* ended by a NULL name */
	const pai_op_attr *attrs; /* ended by a NULL name */
	const pai_op_type *types; /* ended by a NULL name */
	int n_in, n_out;          /* length of the lists */
} pai_op;

/* Number of rows. */
enum {
	PAI_OP_COUNT = 0
#define OP(...) +1
#include "schemas/all_ops.def"
#undef OP
};

#define PAI_DOMAIN_TRANSFORM "pai"
#define PAI_DOMAIN_INTERNAL "pai.internal"

/* Greatest row with since <= opset; NULL when there is none. "ai.onnx" is taken for "". */
/* "ai.onnx" and NULL are other spellings of "". */
PAI_API const char *pai_domain_plain(const char *domain);
PAI_API const pai_op *pai_op_find(const char *domain, const char *name, int64_t opset);
/* Newest row of that name. */
PAI_API const pai_op *pai_op_latest(const char *domain, const char *name);
/* Index of the row over all .def files, which indexes the upper layers' arrays; and back. */
PAI_API int pai_op_id(const pai_op *op);
PAI_API const pai_op *pai_op_row(int id);
/* Nearest existing name of the domain by edit distance, for messages; NULL when none is close. */
PAI_API const char *pai_op_nearest(const char *domain, const char *name);
/* NULL when the row has no such attribute. */
PAI_API const pai_op_attr *pai_op_attr_find(const pai_op *op, const char *name);

/* Any other list of rows that begin with their name (a const char *), one after another, the last
 * without one; or, where size is 0, of pointers to such rows, ended by NULL. */
typedef struct pai_table {
	const void *rows;
	size_t size; /* of a row, in bytes */
} pai_table;
#define PAI_TABLE(rows) ((pai_table){(rows), sizeof *(rows)})
#define PAI_TABLE_OF_POINTERS(rows) ((pai_table){(rows), 0})
PAI_API const void *pai_table_get(pai_table t, int i); /* i up to the end, which is NULL */
PAI_API const void *pai_table_find(pai_table t, const char *name);    /* NULL: none */
PAI_API const char *pai_table_nearest(pai_table t, const char *name); /* see pai_nearest */
/* Is the word one of a list such as "a|b|c"? */
PAI_API bool pai_list_has(const char *list, char separator, const char *word);

/* Nearest of a list of names by edit distance, or NULL. next(payload, i) gives NULL at the end. */
PAI_API const char *pai_nearest(const char *name, const char *(*next)(const void *payload, int i),
				const void *payload);

/* Highest versions this build knows. */
#define PAI_ONNX_IR_VERSION 13
#define PAI_ONNX_OPSET 27

#ifdef __cplusplus
}
#endif
#endif
