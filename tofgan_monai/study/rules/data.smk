# Volumes and stacks of real pairs: simulated or own cohorts, prepared volumes, sampled pairs.


rule simulate:
    output:
        "heads/{site}/cohort.json",
    params:
        words=lambda w: plan.simulation(config, w.site, f"heads/{w.site}"),
    log:
        "logs/simulate/{site}.log",
    benchmark:
        "benchmarks/simulate/{site}.tsv"
    threads: config["threads"]
    shell:
        "{TOFGAN} {params.words} &> {log}"


rule prepare:
    input:
        volumes,
    output:
        "prepared/{site}/cohort.json",
    params:
        words=lambda w: f"--skull-strip {'given' if w.site == 'C' else config['skull_strip']} {config['prepare']}",
    log:
        "logs/prepare/{site}.log",
    benchmark:
        "benchmarks/prepare/{site}.tsv"
    threads: config["threads"]
    shell:
        "{TOFGAN} prepare {input[0]:q} prepared/{wildcards.site} {params.words} &> {log}"


rule extract:
    input:
        lambda w: f"prepared/{SAMPLED[w.sampled][0]}/cohort.json",
    output:
        "pairs/{sampled}.npy",
    params:
        words=lambda w: SAMPLED[w.sampled][1],
    log:
        "logs/extract/{sampled}.log",
    benchmark:
        "benchmarks/extract/{sampled}.tsv"
    threads: config["threads"]
    shell:
        "{TOFGAN} extract $(dirname {input}) {output} {params.words} &> {log}"
