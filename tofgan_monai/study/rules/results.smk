# All results in one file, and the report.


rule collect:  # runs after all other steps except the report, because it collects the wall times of the steps
    input:
        "distances.jsonl",
        "best_gan.txt",
        "figures/errors.png",
        expand("unets/{set}/{seed}/test_A.jsonl", set=SETS, seed=SEEDS),
        expand("threshold/test_{site}.jsonl", site=["A", "B"]),
        expand("transfer/{arm}/{draw}/{seed}/test.jsonl", arm=ARMS, draw=DRAWS, seed=SEEDS),
    output:
        "results.jsonl",
    params:
        settings=json.dumps(config),
    log:
        "logs/collect.log",
    shell:
        "{STEP} collect {output} &> {log}"


rule report:
    input:
        "results.jsonl",
        expand("pairs/{name}.npy", name=["real", *SYNTHETIC]),
    output:
        "report.html",
        "report.md",
    log:
        "logs/report.log",
    shell:
        "{TOFGAN} report . &> {log}"
