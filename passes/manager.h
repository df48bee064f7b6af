/* manager.h -- what the manager and ir_text.c share. */
#ifndef PAI_MANAGER_H
#define PAI_MANAGER_H

#include "passes/passes.h"

/* The whole model in textual syntax; large tensors are shown in part. */
const char *pai_model_text(pai_arena *a, const pai_model *m);
/* Line difference: "-old", "+new", with the lines around them. */
void pai_print_diff(pai_arena *a, const char *before, const char *after, FILE *to);
#endif
