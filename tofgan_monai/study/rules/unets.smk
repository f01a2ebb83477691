# Table 2: U-Nets trained on real pairs, synthetic pairs or both, and scored on test patients. The Snakefile sets SITES,
# the sites of these test patients, and ERROR_MAPS, the folder for error maps of them.


rule train_unet:
    input:
        stacks,
        "pairs/validation_A.npy",
        "prepared/A/cohort.json",
        chosen,
    output:
        "unets/{set}/{seed}/validation.jsonl",
    params:
        words=lambda w: training(f"unets/{w.set}/{w.seed}", stacks(w), "A", f"--seed {w.seed} $(cat {chosen(w)})"),
    log:
        "logs/train_unet/{set}_{seed}.log",
    benchmark:
        "benchmarks/train_unet/{set}_{seed}.tsv"
    threads: config["threads"]
    resources:
        gpu=config["gpus"],
    shell:
        "{TOFGAN} {params.words} &> {log}"


rule choose_gan:  # on validation patients; every rule that reads a test split waits for this choice
    input:
        expand("unets/{gan}/{seed}/validation.jsonl", gan=GANS, seed=SEEDS),
    output:
        "best_gan.txt",
    log:
        "logs/choose_gan.log",
    shell:
        "{STEP} choose-gan {output} &> {log}"


rule score_unet:
    input:
        expand("prepared/{site}/cohort.json", site=SITES),
        "unets/{set}/{seed}/validation.jsonl",
        "best_gan.txt",
    output:
        expand("unets/{{set}}/{{seed}}/test_{site}.jsonl", site=SITES),
    params:
        words=lambda w: " + ".join(
            scoring(f"unets/{w.set}/{w.seed}", site, "test", f"unets/{w.set}/{w.seed}/test_{site}.jsonl", ERROR_MAPS)
            for site in SITES
        ),
    log:
        "logs/score_unet/{set}_{seed}.log",
    benchmark:
        "benchmarks/score_unet/{set}_{seed}.tsv"
    threads: config["threads"]
    resources:
        gpu=config["gpus"],
    shell:
        "{TOFGAN} {params.words} &> {log}"


rule score_threshold:  # the baseline that a U-Net has to beat
    input:
        "prepared/{site}/cohort.json",
        "best_gan.txt",
    output:
        "threshold/test_{site}.jsonl",
    log:
        "logs/score_threshold/{site}.log",
    benchmark:
        "benchmarks/score_threshold/{site}.tsv"
    threads: config["threads"]
    shell:
        "{STEP} score-threshold {wildcards.site} {output} &> {log}"
