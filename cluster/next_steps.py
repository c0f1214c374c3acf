"""Says how to look around after ``make up``."""

print(
    """
To look around:

    eval "$(make -s env)"                          # KUBECONFIG and PATH for this shell (embedded cluster)
    kubectl -n quickstart get mdep,tsplit,dpol     # the dashboard
    kubectl -n quickstart describe tsplit tumor    # what happened, on what numbers
    kubectl penstock -n quickstart status tumor    # the plugin (.venv/bin, after `make setup`)
    kubectl -n quickstart edit mdep tumor          # change spec.model and watch:
    kubectl -n quickstart get tsplit -w

To remove all of it:  make down"""
)
