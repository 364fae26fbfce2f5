# One command runs the main job (make demo), one passes the tests (make test); both install first when needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FACES ?= 1200
FACE_EPOCHS ?= 15
RESULTS := perf-results
# packages are compiled when they are first imported (below), which a machine may be told not to keep
export PYTHONDONTWRITEBYTECODE :=

.PHONY: install demo demo-digits demo-faces perf test test-min faults faults-short fuzz fuzz-short sbom lint docs clean help

help:
	@echo "make demo     noisy digits and relabelled drawn faces: methods, tables and pictures, in minutes"
	@echo "              (make demo-digits and make demo-faces are its halves; the faces go to demo/)"
	@echo "make perf     speed and memory, measured, into docs/performance.md (PHOTOGRAPHS=folder for face detection)"
	@echo "make test     all tests"
	@echo "make faults   kills, full disks, signals, damaged files, in the long form; make faults-short: in minutes"
	@echo "make fuzz     hostile input of every kind, 1,000 mutations each; make fuzz-short with 25"
	@echo "make test-min a quick part of the tests with the lowest versions that pyproject.toml allows"
	@echo "make sbom     what is installed, as CycloneDX, into build/sbom.json"
	@echo "make lint     ruff, ruff format --check, mypy, the direction of imports, dead code"
	@echo "make docs     the documentation as pages, into build/site"
	@echo "make install  a virtual environment in $(VENV) with the package, editable, and its test tools"
	@echo "make clean    remove what the other targets made, but not runs/, datasets/ and manifests"

install: $(STAMP)

# most of what is installed is never imported; what is, gets compiled then
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[test]'
	@touch $@

demo: demo-digits demo-faces

demo-digits: $(STAMP)
	$(BIN)/noisyfer make-cifar --data digits --rates 0.2,0.3,0.4
	$(BIN)/noisyfer bench --manifest data_manifests/digits.parquet --preset small --epochs 20 \
		--method vgg-clean,vgg-majority,vgg-all,proposed

# A folder of its own: what is in datasets/ and data_manifests/ may be the real ones. The second base also begins with
# five epochs without the adversary: from random weights and in so few steps the paper's start at once gets nowhere.
demo-faces: $(STAMP)
	mkdir -p demo
	cd demo && noisyfer=../$(BIN)/noisyfer && set -ex \
	&& $$noisyfer make-faces --out datasets --n $(FACES) --sheet faces.png \
	&& $$noisyfer pretrain --source raf --out raf.ckpt \
	&& $$noisyfer pretrain --source affectnet --out affectnet.ckpt \
	&& $$noisyfer relabel --source raf --model affectnet.ckpt \
	&& $$noisyfer relabel --source affectnet --model raf.ckpt \
	&& $$noisyfer bench --protocol raf-base --method vgg-all,proposed --epochs $(FACE_EPOCHS) \
		--manifest data_manifests/raf_by_affectnet.parquet \
	&& $$noisyfer bench --protocol affectnet-base --method vgg-all,proposed --epochs $(FACE_EPOCHS) \
		--set start_epoch=5 --manifest data_manifests/affectnet_by_raf.parquet

# speed and memory against plain forms; the tables of docs/performance.md are written anew from what was measured.
# Detection needs real photographs: make perf PHOTOGRAPHS=folder
perf: $(STAMP)
	rm -rf $(RESULTS)
	mkdir -p $(RESULTS)
	$(BIN)/python perf/step.py --width 1 --batch 64 --json $(RESULTS)/step.json
	$(BIN)/python perf/step.py --width 0.25 --method all --json $(RESULTS)/methods.json
	$(BIN)/python perf/two_networks.py --json $(RESULTS)/two-networks.json
	$(BIN)/python perf/profile_step.py --json $(RESULTS)/profile.json
	$(BIN)/python perf/feed.py --json $(RESULTS)/feed.json
	$(BIN)/python perf/feed_memory.py --json $(RESULTS)/feed-memory.json
	$(BIN)/python perf/scale.py --json $(RESULTS)/scale.json
	$(BIN)/python perf/paper_scale.py --json $(RESULTS)/paper-scale.json
	$(BIN)/python perf/make_cifar.py --json $(RESULTS)/make-cifar.json
	$(BIN)/python perf/manifest.py --json $(RESULTS)/manifest.json
	$(BIN)/python perf/relabel.py --json $(RESULTS)/relabel.json
	$(BIN)/python perf/relabel_memory.py --json $(RESULTS)/relabel-memory.json
	$(BIN)/python perf/ray_engine.py --json $(RESULTS)/ray-engine.json
	$(BIN)/python perf/listing.py --json $(RESULTS)/listing.json
	$(if $(PHOTOGRAPHS),$(BIN)/python perf/detection.py --folder $(PHOTOGRAPHS) --json $(RESULTS)/detection.json)
	$(BIN)/python perf/large_manifest.py --json $(RESULTS)/large-manifest.json
	$(BIN)/python perf/aggregate.py --json $(RESULTS)/aggregate.json
	$(BIN)/python perf/help.py --json $(RESULTS)/help.json
	$(BIN)/python perf/report.py $(RESULTS)

# one compute thread a worker: two workers on two cores, and no more threads than cores
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# two hundred kills and every byte of a file: hours. The short form is part of .ci/run
faults: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest faults -n 2 --dist worksteal --full

faults-short: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest faults -n 2 --dist worksteal

# seeds are fixed; the number of mutations is all that differs
fuzz: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest fuzz -n 2 --dist worksteal --mutations 1000 -rA

fuzz-short: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest fuzz -n 2 --dist worksteal --mutations 25

# uv alone resolves to lowest versions; it is not needed for anything else
MIN_TESTS := tests/test_manifest_round_trips.py tests/test_images.py tests/test_losses.py tests/test_run.py \
	tests/test_onnx_teacher.py tests/test_import_formats.py
test-min:
	$(PYTHON) -m venv build/min
	build/min/bin/python -m pip install --quiet uv
	build/min/bin/uv pip compile --quiet --resolution lowest-direct --python build/min/bin/python \
		pyproject.toml --output-file build/lowest.txt
	build/min/bin/uv pip install --quiet --python build/min/bin/python --requirement build/lowest.txt \
		pytest pytest-timeout hypothesis onnx cleanlab crowd-kit
	build/min/bin/uv pip install --quiet --python build/min/bin/python --no-deps --editable .
	OMP_NUM_THREADS=1 build/min/bin/python -m pytest $(MIN_TESTS)

sbom: $(STAMP)
	mkdir -p build
	$(PYTHON) -m venv build/sbom
	build/sbom/bin/python -m pip install --quiet cyclonedx-bom
	build/sbom/bin/cyclonedx-py environment $(VENV) --of JSON --output-file build/sbom.json

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=.typing $(BIN)/lint-imports --no-cache
	$(BIN)/vulture

docs: $(STAMP)
	PYTHONPATH=.typing NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
