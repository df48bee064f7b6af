/* run_folder.h -- what a training run leaves behind; private to the runtime. */
#ifndef PAI_RUN_FOLDER_H
#define PAI_RUN_FOLDER_H

#include "runtime/runtime.h"

typedef struct pai_epoch_row {
	int epoch;
	uint64_t steps; /* so far */
	double train_loss, train_seconds, lr;
	double val_loss, val_accuracy; /* NaN: not measured */
	pai_scores scores;             /* none without validation */
} pai_epoch_row;

typedef struct pai_run_config { /* what a run goes by, nothing left open */
	const pai_train_options *options;
	const pai_model *model;
	int batch, epochs;
	uint64_t steps;
	const pai_scores *scores; /* what is measured */
	int chooser;              /* which of them chooses the best model */
} pai_run_config;

/* steps.csv, epochs.csv and events.jsonl grow while the run goes on, so that a killed run leaves
 * what it did; config.json, plot.svg and best.onnx are written whole. */
typedef struct pai_run_folder {
	pai_ctx *ctx;
	pai_arena *arena;
	const char *dir; /* NULL: no folder; then nothing of it is written */
	const char *log_path;
	FILE *steps, *epochs, *events;
	FILE *log; /* --log-steps, without a name until the run has ended; NULL: none */
	PAI_VEC(pai_epoch_row) rows;
} pai_run_folder;

/* Makes the folder, which must not exist yet, and writes config.json. */
PAI_MUST_USE pai_status pai_run_folder_open(pai_ctx *ctx, pai_arena *a,
					    const pai_run_config *config, pai_run_folder *out);
void pai_run_folder_step(pai_run_folder *f, uint64_t step, int epoch, float loss, double lr,
			 double seconds);
PAI_MUST_USE pai_status pai_run_folder_epoch(pai_run_folder *f, const pai_epoch_row *row);
/* The weights of now as best.onnx. */
PAI_MUST_USE pai_status pai_run_folder_best(pai_run_folder *f, const pai_model *m,
					    const pai_session *s, const pai_epoch_row *row);
/* The model at the end, as last.onnx. */
PAI_MUST_USE pai_status pai_run_folder_last(const pai_run_folder *f, const pai_model *m);
/* Ends the files; an error of writing is reported unless the run failed before. The log gets its
 * name only when the run has come to its end. */
PAI_MUST_USE pai_status pai_run_folder_close(pai_run_folder *f, pai_status run, bool stopped);

#endif
