"""Rules between keys of the config, one function each, in files by what they are about. A rule raises a UserError.

A new rule is a function there and an entry in one of the lists below. They are checked in that order.
"""

from utils.config.rules import channels, data, devices, evaluation, intensities, labels, prediction, training

DEVICE_RULES = (
    devices.tpu_needs_tf_data,
    devices.tpu_needs_fixed_shapes,
    devices.tpu_has_no_float16,
    devices.workers_save_after_epochs,
    devices.recompute_is_of_tensorflow,
    devices.workers_read_by_themselves,
)

RULES = (
    data.scan_window_is_an_interval,
    data.fold_is_a_number_or_all,
    data.height_and_width_go_together,
    data.any_size_needs_batches_of_one,
    data.resize_has_the_size_of_input,
    channels.channel_names_find_files,
    channels.classifier_reads_single_files,
    channels.input_has_the_channels_of_the_files,
    intensities.preprocessing_reads_its_settings,
    intensities.window_is_an_interval,
    intensities.scope_can_be_measured,
    intensities.statistics_are_complete,
    data.service_lists_hosts,
    data.service_needs_tf_data,
    data.sampling_needs_masks,
    data.crop_has_the_size_of_input,
    data.policy_file_replaces_knobs,
    data.engine_has_what_is_asked,
    data.quarter_turns_need_squares,
    evaluation.predictions_are_masks_of_one_split,
    evaluation.groups_and_probabilities_are_of_masks,
    evaluation.raters_need_predictions,
    evaluation.label_images_are_predictions_of_one_class,
    evaluation.surface_dice_has_a_tolerance,
    evaluation.size_bins_rise,
    prediction.uncertainty_is_of_masks,
    prediction.uncertainty_is_asked_for,
    prediction.files_of_one_class_are_no_masks_of_all,
    prediction.objects_are_separated_as_asked,
    training.schedule_stays_below_its_peak,
    training.freeze_ends_within_the_run,
    *DEVICE_RULES,
    training.classifier_has_its_own_loss,
    training.classifier_has_its_own_sigmoid,
    training.monitor_is_a_score,
)

# Rules for models that predict masks.
MASK_RULES = (
    training.loss_has_a_term,
    training.no_loss_option_is_removed,
    training.images_are_large_enough_for_the_loss,
    labels.values_of_masks_have_one_meaning,
    labels.class_masks_are_those_of_the_classes,
    labels.raters_ignore_whole_pixels,
    training.overlapping_classes_fit_their_masks,
    prediction.objects_have_one_class,
    training.ignored_label_is_no_class,
    training.class_names_fit_the_classes,
    training.foreground_needs_a_background,
    training.label_values_fit_the_classes,
    labels.label_sets_have_every_class,
    training.class_weights_fit_the_classes,
)
