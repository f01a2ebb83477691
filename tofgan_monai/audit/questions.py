"""What an audit's figures say on the questions a data protection officer must answer, and what they cannot say.

One entry a question: `question`, `source`, the names of the `attacks` that speak to it, what they say, and what they
cannot; without attacks the advantage of the worst one is shown. The report shows them; nothing here is a legal opinion.
"""

from __future__ import annotations

_DATA = ["nearest image", "nearest label", "GAN-Leaks image", "GAN-Leaks label", "Monte Carlo", "density ratio"]
_WP29 = "Article 29 Working Party, Opinion 05/2014 on anonymisation techniques (WP216)"
_EDPB = "European Data Protection Board, Opinion 28/2024 on AI models"

MAPPING: list[dict] = [
    {
        "question": "Singling out",
        "source": _WP29,
        "attacks": _DATA,
        "says": "Can a patient be isolated in the released data? Synthetic pairs have no record of a patient, so the "
        "nearest question is whether some pairs are a training patient's own: the near-copies, shown beside what "
        "they resemble and counted against those of patients whom the generator has never seen, and the attacks on "
        "images and on label maps, as a vessel tree is a fingerprint.",
        "cannot_say": "That nobody can be singled out. A search finds what its similarity can see; few near-copies "
        "and large distances have been met by data that gave members away (arXiv:2505.01524).",
    },
    {
        "question": "Linkability",
        "source": _WP29,
        "attacks": [*_DATA, "latent recovery"],
        "says": "Can someone who holds a scan of a patient link it to the release? That is membership inference: each "
        "attack is given real patches and must tell those of training patients from those of others of the same "
        "site. Its AUC over patients is the chance that it ranks a member above a non-member; 0.5 is guessing.",
        "cannot_say": "Whether the release can be linked to other sources: no second data set is part of the audit. "
        "An attacker who knows more than these attacks, or owns better ones, may link more.",
    },
    {
        "question": "Inference",
        "source": _WP29,
        "attacks": [*_DATA, "latent recovery"],
        "says": "Can something be learnt of a patient with significant probability? Here the first thing to learn is "
        "that the patient was in the training cohort, and so has what the cohort was chosen for. TPR at a low FPR "
        "says for how many it could be told with confidence, the lower bound on epsilon how far trainings with and "
        "without one patient have been shown to differ.",
        "cannot_say": "What else of a patient (age, disease) could be inferred: no attack tries it. What follows from "
        "the population, and so holds for patients who were not in the training too, is no disclosure by it.",
    },
    {
        "question": "Case 1: releasing the data",
        "source": _EDPB,
        "attacks": _DATA,
        "says": "A fixed stack of pairs leaves. Only attacks on these very pairs count, and near-copies can be left "
        "out before. The verdict is on releasing the pairs.",
        "cannot_say": "Anything on other pairs: another seed, another threshold or more pairs are another release. A "
        "release cannot be called back, and attacks get better.",
    },
    {
        "question": "Case 2: releasing the generator",
        "source": _EDPB,
        "attacks": [*_DATA, "latent recovery"],
        "says": "Weights leave, and with them any number of pairs. The opinion asks that both the extraction of "
        "personal data from a model and obtaining it by queries be insignificantly likely, by all means reasonably "
        "likely to be used. So what counts against the data counts here too, beside the attacks that need the weights. "
        "The critic is never released: it was shown the patients themselves, and LOGAN shows what that is worth.",
        "cannot_say": "That extraction is insignificantly likely: that is a judgement on all means, of which these "
        "attacks are some. Fine-tuning, gradients of the weights and many stacks together have not been tried.",
    },
    {
        "question": "A segmentation network trained on patients",
        "source": _EDPB,
        "attacks": ["loss", "confidence", "LiRA"],
        "says": "A network that makes no images can still tell whom it was trained on: by a loss that is lower, or a "
        "confidence that is higher, for members. The verdict is on releasing the network.",
        "cannot_say": "Whether images could be reconstructed from it. LiRA has few shadow networks here, and with more "
        "of them it sees more.",
    },
    {
        "question": "The threshold of 0.09",
        "source": "European Medicines Agency, external guidance on Policy 0070; Health Canada, guidance on the Public "
        "Release of Clinical Information",
        "attacks": [],
        "says": "Both accept, for clinical reports, a risk of re-identification of at most 0.09 (1 in 11). It is given "
        "here as an analogue, to lend the figures a scale: an attack of advantage 0.09 is right in 54.5 of 100 cases "
        "where half of those asked about are members.",
        "cannot_say": "That an advantage below 0.09 meets these policies. Theirs is the probability that a record is "
        "matched to a person; an advantage is a difference of rates on membership. No rule of this tool uses it.",
    },
]
