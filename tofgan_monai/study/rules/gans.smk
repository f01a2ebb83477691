# The GANs of the study: their trainings, their synthetic pairs, and Table 1.


if config["retrain"]:

    rule train_gan:
        input:
            "pairs/real.npy",
            "pairs/validation_A.npy",
        output:
            touch("gans/{gan}/trained"),
        params:
            words=lambda w: gan_training(w.gan, f"gans/{w.gan}", "pairs/real.npy"),
        log:
            "logs/train_gan/{gan}.log",
        benchmark:
            "benchmarks/train_gan/{gan}.tsv"
        threads: config["threads"]
        resources:
            gpu=config["gpus"],
        shell:
            "{TOFGAN} {params.words} &> {log}"


rule generate:
    input:
        ["gans/{gan}/trained", "pairs/validation_A.npy"] if config["retrain"] else [],
    output:
        "pairs/{gan}.npy",
    params:
        words=lambda w: f"generate {shlex.quote(GANS[w.gan])} pairs/{w.gan}.npy -n {plan.n_synthetic(config)}",
        weights=lambda w: f"--weights gans/{w.gan}/best.pt --width {config['gan_width']} "
        "--validation-pairs pairs/validation_A.npy" if config["retrain"] else "",
    log:
        "logs/generate/{gan}.log",
    benchmark:
        "benchmarks/generate/{gan}.tsv"
    threads: config["threads"]
    resources:
        gpu=config["gpus"],
    shell:
        "{TOFGAN} {params.words} {params.weights} &> {log}"


rule frechet:  # Table 1
    input:
        "pairs/real.npy",
        "pairs/others.npy",
        expand("pairs/{name}.npy", name=SYNTHETIC),
    output:
        "distances.jsonl",
    params:
        words=plan.frechet_options(config),
    log:
        "logs/frechet.log",
    benchmark:
        "benchmarks/frechet.tsv"
    threads: config["threads"]
    resources:
        gpu=config["gpus"],
    shell:
        "{TOFGAN} frechet {input} --output {output} {params.words} --cache features &> {log}"
