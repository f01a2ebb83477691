# Fig. 3 and Fig. 4: U-Nets trained on a few patients of cohort B, from scratch or from pre-trained weights.

# Arm -> options that name the starting weights of a U-Net, and arm -> files that must exist before its training
BEGINNING = {
    "scratch": "",
    "pretrained": "--pretrained unets/$(cat best_gan.txt)/{}/best.pt",
    "procedural": "--pretrained unets/procedural/{}/best.pt",
}
WAITS_FOR = {
    "scratch": [],
    "pretrained": ["best_gan.txt", *(f"unets/{gan}/{{seed}}/validation.jsonl" for gan in GANS)],
    "procedural": ["unets/procedural/{seed}/validation.jsonl"],
}


rule transfer:  # Fig. 3
    input:
        lambda w: expand(WAITS_FOR[w.arm], seed=w.seed),
        "pairs/validation_B.npy",
        "prepared/B/cohort.json",
        "pairs/B_{draw}.npy",
        "tuning/real/chosen.txt",
    output:
        "transfer/{arm}/{draw}/{seed}/validation.jsonl",
    params:
        words=lambda w: training(
            f"transfer/{w.arm}/{w.draw}/{w.seed}", [f"pairs/B_{w.draw}.npy"], "B",
            f"--seed {w.seed} $(cat tuning/real/chosen.txt) {BEGINNING[w.arm].format(w.seed)}",
        ),
    log:
        "logs/transfer/{arm}_{draw}_{seed}.log",
    benchmark:
        "benchmarks/transfer/{arm}_{draw}_{seed}.tsv"
    threads: config["threads"]
    resources:
        gpu=config["gpus"],
    shell:
        "{TOFGAN} {params.words} &> {log}"


rule score_transfer:
    input:
        "prepared/B/cohort.json",
        "transfer/{arm}/{draw}/{seed}/validation.jsonl",
        "best_gan.txt",
    output:
        "transfer/{arm}/{draw}/{seed}/test.jsonl",
    params:
        words=lambda w: scoring(
            f"transfer/{w.arm}/{w.draw}/{w.seed}", "B", "test", f"transfer/{w.arm}/{w.draw}/{w.seed}/test.jsonl"
        ),
    log:
        "logs/score_transfer/{arm}_{draw}_{seed}.log",
    benchmark:
        "benchmarks/score_transfer/{arm}_{draw}_{seed}.tsv"
    threads: config["threads"]
    resources:
        gpu=config["gpus"],
    shell:
        "{TOFGAN} {params.words} &> {log}"


SHOWN = [f"transfer/{arm}/{min(config['transfer'])}_0/{SEEDS[0]}" for arm in ("scratch", "pretrained")]


rule draw_errors:  # Fig. 4
    input:
        expand("{folder}/test.jsonl", folder=SHOWN),
    output:
        "figures/errors.png",
    params:
        words=" ".join(f"{folder}/best.pt" for folder in SHOWN) + f" {WIDTH}",
    log:
        "logs/draw_errors.log",
    benchmark:
        "benchmarks/draw_errors.tsv"
    threads: config["threads"]
    shell:
        "{STEP} draw-errors prepared/B {output} {params.words} &> {log}"
