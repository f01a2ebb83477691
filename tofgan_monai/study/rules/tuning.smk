# Learning rates, dropout, batch size and augmentation of the U-Nets, chosen on validation patients.


rule tune_rates:
    input:
        stacks,
        "pairs/validation_A.npy",
        "prepared/A/cohort.json",
    output:
        "tuning/{set}/{point}/validation.jsonl",
    params:
        words=lambda w: training(f"tuning/{w.set}/{w.point}", stacks(w), "A", f"--overlay {PLAIN} {POINTS[w.point]}"),
    wildcard_constraints:
        point="|".join(POINTS),
    log:
        "logs/tune_rates/{set}_{point}.log",
    benchmark:
        "benchmarks/tune_rates/{set}_{point}.tsv"
    threads: config["threads"]
    resources:
        gpu=config["gpus"],
    shell:
        "{TOFGAN} {params.words} &> {log}"


rule choose_rates:
    input:
        expand("tuning/{{set}}/{point}/validation.jsonl", point=POINTS),
    output:
        "tuning/{set}/rates.txt",
    log:
        "logs/choose_rates/{set}.log",
    shell:
        "{STEP} choose-rates {wildcards.set} {output} &> {log}"


rule tune_augmentation:
    input:
        stacks,
        "pairs/validation_A.npy",
        "prepared/A/cohort.json",
        "tuning/{set}/rates.txt",
    output:
        "tuning/{set}/{augmentation}/validation.jsonl",
    params:
        words=lambda w: training(
            f"tuning/{w.set}/{w.augmentation}", stacks(w), "A",
            f"--overlay {w.augmentation} $(cat tuning/{w.set}/rates.txt)",
        ),
    wildcard_constraints:
        augmentation="|".join(AUGMENTATIONS) or "none",
    log:
        "logs/tune_augmentation/{set}_{augmentation}.log",
    benchmark:
        "benchmarks/tune_augmentation/{set}_{augmentation}.tsv"
    threads: config["threads"]
    resources:
        gpu=config["gpus"],
    shell:
        "{TOFGAN} {params.words} &> {log}"


rule choose_augmentation:
    input:
        "tuning/{set}/rates.txt",
        expand("tuning/{{set}}/{augmentation}/validation.jsonl", augmentation=AUGMENTATIONS),
    output:
        "tuning/{set}/chosen.txt",
    log:
        "logs/choose_augmentation/{set}.log",
    shell:
        "{STEP} choose-augmentation {wildcards.set} {output} &> {log}"
