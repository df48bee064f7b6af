/* rules.h -- which tensors get which transform: the ordered rules of add-transforms. */
#ifndef PAI_RULES_H
#define PAI_RULES_H

#include "passes/passes.h"

typedef struct pai_rule_attr { /* a value for an attribute of the transform's row */
	const pai_op_attr *row;
	int64_t i;
	float f;
	const char *s;
	int n; /* of floats */
	const float *floats;
} pai_rule_attr;

/* What must hold of a reader of the tensor, and of the tensor. NULL or -1: anything. Texts but
 * family are globs. */
typedef struct pai_rule {
	const char *label; /* for messages and the lock file: "1 weights:int_quant" */
	const char *family, *op_type, *domain, *node, *initializer;
	int64_t input_slot, rank, min_numel;
	bool activation; /* what the node puts out, not a parameter it reads; then `output` counts
			  */
	int64_t output;
	bool append; /* after what earlier rules, or the file, put there; otherwise in its stead */
	const pai_transform *transform;
	pai_rule_attr *attrs;
	int n_attrs;
} pai_rule;

/* text: rules inline, family:transform{key=value,...},..., or the path of a .json file. */
PAI_MUST_USE pai_status pai_rules_read(pai_ctx *ctx, pai_arena *a, const char *text, pai_rule **out,
				       int *n);
/* Does the rule select output `slot` of the node? */
bool pai_rule_matches_output(const pai_rule *r, const pai_node *n, int slot, const pai_value *v);
bool pai_rule_matches(const pai_rule *r, const pai_node *reader, int slot, const pai_value *v,
		      const pai_tensor *t);

#endif
